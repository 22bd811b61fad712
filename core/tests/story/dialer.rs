use portcullis_core::dialer::{Config, Dialer, Input, Manner};
use portcullis_core::{Address, Seed};

use super::{Story, lasting, three_addresses};

fn story(manner: Manner) -> Story<Dialer> {
    let config = Config { manner, ..Config::default() };
    let mut story = Story::of(Dialer::new(config, three_addresses(), Seed(1)));
    story.tell(Input::Started);
    story
}

fn logged_in() -> Input {
    Input::LoggedIn { addresses: three_addresses() }
}

fn elsewhere(address: &str) -> Input {
    Input::Redirected { to: vec![Address::new(address)] }
}

fn addresses(dialer: &Dialer) -> String {
    dialer.addresses().iter().map(Address::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn agents_shuffle_each_round() {
    let mut story = story(Manner::Agent);
    for due in ["5s", "6s", "7s", "20s", "21s", "22s", "60s"] {
        story.run_until(due).tell(Input::Failed);
    }
    story.reads("dialer/agents_shuffle_each_round");
}

#[test]
fn users_try_the_last_good_one_first() {
    story(Manner::User)
        .run_until("0s")
        .tell(Input::Failed)
        .run_until("1s")
        .tell(Input::Connected)
        .tell(logged_in())
        .ask("addresses", addresses)
        .at("5s")
        .tell(Input::Disconnected)
        .run_until("9s")
        .reads("dialer/users_try_the_last_good_one_first");
}

#[test]
fn a_dial_that_hangs_is_dropped() {
    story(Manner::User).run_until("25s").reads("dialer/a_dial_that_hangs_is_dropped");
}

#[test]
fn a_greeting_counts_into_the_dial() {
    story(Manner::User)
        .at("9s")
        .tell(Input::Connected)
        .run_until("11s")
        .reads("dialer/a_greeting_counts_into_the_dial");
}

#[test]
fn a_redirect_is_followed() {
    story(Manner::User)
        .run_until("0s")
        .tell(Input::Connected)
        .tell(Input::Redirected { to: vec![Address::new("x:1"), Address::new("y:1")] })
        .run_until("1s")
        .tell(Input::Failed)
        .run_until("2s")
        .tell(Input::Connected)
        .tell(logged_in())
        .ask("addresses", addresses)
        .reads("dialer/a_redirect_is_followed");
}

#[test]
fn a_redirect_loop_ends_in_a_backoff() {
    let mut story = story(Manner::User);
    for turn in 0..6 {
        let next = if turn % 2 == 0 { "x:1" } else { "y:1" };
        story.run_until("0s").tell(Input::Connected).tell(elsewhere(next));
    }
    story.run_until("5s").reads("dialer/a_redirect_loop_ends_in_a_backoff");
}

#[test]
fn controllers_that_both_shed_end_in_a_backoff() {
    let mut story = story(Manner::User);
    for turn in 0..6 {
        let next = if turn % 2 == 0 { "x:1" } else { "y:1" };
        story.run_until("0s").tell(Input::Connected).tell(logged_in()).tell(elsewhere(next));
    }
    story.run_until("5s").reads("dialer/controllers_that_both_shed_end_in_a_backoff");
}

#[test]
fn a_steady_connection_may_be_redirected_any_number_of_times() {
    let mut story = story(Manner::User);
    for turn in 0..8_u32 {
        let (met, left) = (format!("{}s", turn * 60), format!("{}s", turn * 60 + 60));
        story.run_until(&met).tell(Input::Connected).tell(logged_in());
        story.at(&left).tell(elsewhere("x:1"));
    }
    story.reads("dialer/a_steady_connection_may_be_redirected_any_number_of_times");
}

#[test]
fn an_empty_redirect_backs_off() {
    story(Manner::User)
        .run_until("0s")
        .tell(Input::Connected)
        .tell(Input::Redirected { to: vec![] })
        .run_until("5s")
        .reads("dialer/an_empty_redirect_backs_off");
}

#[test]
fn waits_grow_until_a_steady_connection() {
    let config = Config { manner: Manner::User, dial_within: lasting("10m"), ..Config::default() };
    let mut story = Story::of(Dialer::new(config, three_addresses(), Seed(1)));
    story.tell(Input::Started);
    let mut minute = 0;
    for steady in [false, false, false, true, false] {
        story.run_until(&format!("{minute}m")).tell(Input::Connected).tell(logged_in());
        if steady {
            minute += 2;
            story.run_until(&format!("{minute}m"));
        }
        story.tell(Input::Disconnected);
        minute += 1;
    }
    story.run_until(&format!("{minute}m")).reads("dialer/waits_grow_until_a_steady_connection");
}

#[test]
fn refused_with_a_time_to_come_back() {
    story(Manner::User)
        .run_until("0s")
        .tell(Input::Connected)
        .tell(Input::Refused { retry_after: lasting("30s") })
        .run_until("40s")
        .reads("dialer/refused_with_a_time_to_come_back");
}

#[test]
fn an_empty_list_is_ignored() {
    story(Manner::User)
        .run_until("0s")
        .tell(Input::Connected)
        .tell(Input::LoggedIn { addresses: vec![] })
        .ask("addresses", addresses)
        .reads("dialer/an_empty_list_is_ignored");
}

#[test]
fn a_list_out_of_date_does_not_make_it_forget() {
    let gone = vec![Address::new("gone:17070")];
    let mut story = story(Manner::User);
    story.run_until("0s").tell(Input::Connected).tell(Input::LoggedIn { addresses: gone });
    story.at("5s").tell(Input::Disconnected);
    for due in ["10s", "11s", "30s", "31s", "32s", "33s"] {
        story.run_until(due).tell(Input::Failed);
    }
    story
        .run_until("60s")
        .tell(Input::Connected)
        .tell(logged_in())
        .ask("addresses", addresses)
        .reads("dialer/a_list_out_of_date_does_not_make_it_forget");
}

#[test]
fn others_follow_the_list() {
    let mut story = story(Manner::Listed);
    for due in ["5s", "6s", "7s", "20s", "21s", "22s"] {
        story.run_until(due).tell(Input::Failed);
    }
    story.reads("dialer/others_follow_the_list");
}

#[test]
fn stopped_and_started_again() {
    story(Manner::User)
        .run_until("0s")
        .tell(Input::Stopped)
        .tell(Input::Stopped)
        .tell(Input::Failed)
        .run_until("60s")
        .tell(Input::Started)
        .tell(Input::Started)
        .run_until("61s")
        .reads("dialer/stopped_and_started_again");
}
