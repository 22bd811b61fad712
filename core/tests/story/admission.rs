use portcullis_core::ConnectionId;
use portcullis_core::admission::{Accept, Admission, Config, Input};

use super::{Story, lasting};

/// Two logins decide, and the limit is between 2 and 8.
fn small() -> Config {
    Config { logins_min: 2, samples_min: 2, ..Config::default() }
}

fn story(config: Config) -> Story<Admission> {
    Story::of(Admission::new(config, 8))
}

/// Connections of these numbers come in.
fn come(story: &mut Story<Admission>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        story.tell(Input::Connected { connection: ConnectionId(number) });
    }
}

/// They log in.
fn log_in(story: &mut Story<Admission>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        story.tell(Input::LoggedIn { connection: ConnectionId(number) });
    }
}

fn asked(story: &mut Story<Admission>) {
    story
        .ask("shortest, last", |machine| format!("{:?}, {:?}", machine.shortest(), machine.time()));
}

#[test]
fn it_doubles_while_logins_are_quick() {
    let mut story = story(small());
    come(&mut story, 0..2);
    story.run_until("0.2s");
    log_in(&mut story, 0..2);
    come(&mut story, 2..4);
    story.run_until("0.4s");
    log_in(&mut story, 2..4);
    come(&mut story, 4..8);
    story.run_until("0.6s");
    log_in(&mut story, 4..8);
    asked(&mut story);
    story.reads("admission/it_doubles_while_logins_are_quick");
}

#[test]
fn growth_without_use_is_taken_back() {
    let mut story = story(small());
    come(&mut story, 0..2);
    story.run_until("0.3s");
    log_in(&mut story, 0..2);
    // Twice as many, in twice the time.
    come(&mut story, 2..6);
    story.run_until("0.9s");
    log_in(&mut story, 2..6);
    asked(&mut story);
    story.reads("admission/growth_without_use_is_taken_back");
}

#[test]
fn those_who_never_log_in_do_not_close_the_door() {
    let mut story = story(small());
    come(&mut story, 0..2);
    story.run_until("6s");
    come(&mut story, 2..4);
    story.run_until("30s");
    for number in 0..4 {
        story.tell(Input::Disconnected { connection: ConnectionId(number) });
    }
    asked(&mut story);
    story.reads("admission/those_who_never_log_in_do_not_close_the_door");
}

#[test]
fn nothing_is_decided_while_there_is_room() {
    let mut story = story(small());
    for number in 0..6 {
        come(&mut story, number..number + 1);
        story.run_for("200ms");
        log_in(&mut story, number..number + 1);
    }
    asked(&mut story);
    story.reads("admission/nothing_is_decided_while_there_is_room");
}

#[test]
fn paced_it_only_measures() {
    let mut story = story(Config { accept: Accept::Paced, ..small() });
    come(&mut story, 0..8);
    story.run_for("1s");
    log_in(&mut story, 0..8);
    story.run_until("10s");
    asked(&mut story);
    story
        .ask("limit", |machine| machine.limit().to_string())
        .reads("admission/paced_it_only_measures");
}

#[test]
fn a_wait_longer_than_the_window_is_needed_for_a_decision() {
    let mut story = story(Config { window: lasting("1s"), ..small() });
    come(&mut story, 0..2);
    story.run_until("0.1s");
    log_in(&mut story, 0..2);
    come(&mut story, 2..4);
    story.run_until("2s");
    story.reads("admission/a_wait_longer_than_the_window_is_needed_for_a_decision");
}
