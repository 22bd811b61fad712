use portcullis_core::addresses::Scope;
use portcullis_core::bind::{Bind, Candidate, Config, Input, Lack};

use super::Story;

fn story() -> Story<Bind> {
    Story::of(Bind::new(Config::default()))
}

fn read(hosts: &[&str]) -> Input {
    let candidate = |host: &&str| Candidate { host: (*host).into(), scope: Scope::of(host) };
    Input::Read { candidates: hosts.iter().map(candidate).collect() }
}

fn bound(bind: &Bind) -> String {
    format!("{:?}, lacks {:?}", bind.bound(), bind.lack().map(Lack::to_string))
}

#[test]
fn an_address_that_comes_late_is_waited_for() {
    story()
        .tell(Input::NotRead { lack: Lack::NoFile })
        .at("1s")
        .tell(Input::NotRead { lack: Lack::NoFile })
        .at("2s")
        .tell(read(&[]))
        .ask("bound", bound)
        .at("60s")
        .tell(read(&["10.0.0.1"]))
        .ask("bound", bound)
        .reads("bind/an_address_that_comes_late_is_waited_for");
}

#[test]
fn of_several_the_one_in_the_cloud() {
    story()
        .tell(read(&["8.8.8.8", "10.0.0.1", "fe80::1", "10.0.0.1"]))
        .reads("bind/of_several_the_one_in_the_cloud");
}

#[test]
fn ambiguity_is_refused_by_name() {
    story()
        .tell(read(&["10.0.0.1", "192.168.0.1", "8.8.8.8"]))
        .at("1s")
        .tell(read(&["8.8.8.8", "9.9.9.9"]))
        .at("2s")
        .tell(read(&["fe80::1", "169.254.0.9"]))
        .ask("bound", bound)
        .at("3s")
        .tell(read(&["8.8.8.8"]))
        .ask("bound", bound)
        .reads("bind/ambiguity_is_refused_by_name");
}

#[test]
fn a_rewrite_is_followed_once_it_stands() {
    story()
        .tell(read(&["10.0.0.1"]))
        .at("10s")
        .tell(read(&["10.0.0.2"]))
        .at("11s")
        .tell(read(&["10.0.0.2"]))
        .run_until("20s")
        .ask("bound", bound)
        .reads("bind/a_rewrite_is_followed_once_it_stands");
}

#[test]
fn a_file_written_in_steps_moves_nobody_twice() {
    story()
        .tell(read(&["10.0.0.1"]))
        .at("10s")
        .tell(read(&["10.0.0.2"]))
        .at("11s")
        .tell(read(&["10.0.0.3"]))
        .at("12.5s")
        .tell(read(&["10.0.0.1"]))
        .run_until("20s")
        .ask("bound", bound)
        .reads("bind/a_file_written_in_steps_moves_nobody_twice");
}

#[test]
fn what_is_bound_is_kept_whatever_becomes_of_the_file() {
    let torn = Lack::Unreadable { says: "controller.conf line 2: not a map".into() };
    story()
        .tell(read(&["10.0.0.1"]))
        .at("10s")
        .tell(Input::NotRead { lack: torn.clone() })
        .at("11s")
        .tell(Input::NotRead { lack: torn })
        .at("12s")
        .tell(Input::NotRead { lack: Lack::NoFile })
        .at("13s")
        .tell(read(&["10.0.0.1", "10.0.0.2"]))
        .ask("bound", bound)
        .at("14s")
        .tell(read(&["10.0.0.2"]))
        .at("15s")
        .tell(Input::NotRead { lack: Lack::NoFile })
        .run_until("30s")
        .ask("bound", bound)
        .reads("bind/what_is_bound_is_kept_whatever_becomes_of_the_file");
}
