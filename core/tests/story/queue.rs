use portcullis_core::clock::Anchor;
use portcullis_core::lease::{Done, Outcome, Refusal};
use portcullis_core::queue::{Config, Input, OPERATION_BYTES, Queue, size};
use portcullis_core::{BatchId, GlobalTime, NodeId, Time};

use super::{Story, ask, claim, lasting};

fn story(config: Config) -> Story<Queue> {
    let mut story = Story::of(Queue::new(config));
    let anchor = Anchor { local: Time(0), global: GlobalTime(1_000_000_000) };
    story.tell(Input::Led { anchor });
    story
}

/// One flight of at most two commands, so that what waits is easily seen.
fn narrow() -> Story<Queue> {
    story(Config { flights_max: 1, batch_max: 2, ..Config::default() })
}

fn asked(serial: u64) -> Input {
    patient(serial, "10s")
}

fn patient(serial: u64, patience: &str) -> Input {
    let operation = claim("mysql", &format!("mysql/{serial}"));
    let patience = lasting(patience);
    Input::Asked { ask: ask(1, serial), operation, renews: false, patience }
}

/// The same by one who holds the lease.
fn renewed(serial: u64) -> Input {
    let operation = claim("mysql", &format!("mysql/{serial}"));
    Input::Asked { ask: ask(1, serial), operation, renews: true, patience: lasting("10s") }
}

/// Who is told what, once each of the following batches is answered with grants alone.
fn drained(story: &mut Story<Queue>, batches: &[usize]) {
    for (batch, commands) in (2..).zip(batches) {
        story.tell(committed(batch, vec![granted(); *commands]));
    }
}

fn granted() -> Outcome {
    Ok(Done::Granted { fence: 1, expiry: GlobalTime(1_060_000_000) })
}

fn committed(batch: u64, outcomes: Vec<Outcome>) -> Input {
    Input::Committed { batch: BatchId(batch), index: 10 + batch, outcomes }
}

#[test]
fn batches_while_in_flight() {
    let mut story = narrow();
    for serial in 1..=4 {
        story.tell(asked(serial));
    }
    story
        .at("0.010s")
        .tell(committed(1, vec![granted()]))
        .at("0.020s")
        .tell(committed(2, vec![Err(Refusal::NotHeld), Err(Refusal::Void)]))
        .at("0.030s")
        .tell(Input::Lost { batch: BatchId(3) })
        .ask("in flight", |queue| queue.in_flight().to_string())
        .reads("queue/batches_while_in_flight");
}

#[test]
fn full() {
    let mut story = story(Config { waiting_max: 2, flights_max: 1, ..Config::default() });
    for serial in 1..=4 {
        story.tell(asked(serial));
    }
    story.ask("waiting", |queue| queue.waiting().to_string()).reads("queue/full");
}

#[test]
fn slow_for_its_deadline() {
    let mut story = story(Config { flights_max: 1, batch_max: 1, ..Config::default() });
    story
        .tell(asked(1))
        .tell(asked(2))
        .at("2s")
        .tell(committed(1, vec![granted()]))
        .tell(asked(3))
        .tell(asked(4))
        .tell(patient(5, "3s"))
        .tell(patient(6, "4s"))
        .reads("queue/slow_for_its_deadline");
}

#[test]
fn a_measured_drain_never_shuts_an_empty_queue() {
    story(Config::default())
        .tell(asked(1))
        .at("9s")
        .tell(committed(1, vec![granted()]))
        .tell(patient(2, "50ms"))
        .reads("queue/a_measured_drain_never_shuts_an_empty_queue");
}

#[test]
fn small_entries_say_little_of_what_the_log_can_do() {
    let mut story = story(Config { flights_max: 1, batch_max: 4, ..Config::default() });
    story.tell(asked(1));
    for serial in 2..=9 {
        story.tell(asked(serial));
    }
    story
        .at("2s")
        .tell(committed(1, vec![granted()]))
        .ask("drain", |queue| format!("{:?}", queue.drain()))
        .at("4s")
        .tell(committed(2, vec![granted(); 4]))
        .ask("drain", |queue| format!("{:?}", queue.drain()))
        .at("4.100s")
        .tell(committed(3, vec![granted(); 4]))
        .tell(patient(10, "1s"))
        .at("4.200s")
        .tell(committed(4, vec![granted()]))
        .ask("drain", |queue| format!("{:?}", queue.drain()))
        .reads("queue/small_entries_say_little_of_what_the_log_can_do");
}

#[test]
fn entries_grow_with_the_load() {
    let mut story = story(Config { flights_max: 4, batch_max: 8, ..Config::default() });
    for serial in 1..=24 {
        story.tell(asked(serial));
    }
    story.reads("queue/entries_grow_with_the_load");
}

#[test]
fn cancelled_while_waiting() {
    narrow()
        .tell(asked(1))
        .tell(asked(2))
        .tell(Input::Cancelled { ask: ask(1, 2) })
        .tell(Input::Cancelled { ask: ask(1, 2) })
        .at("1s")
        .tell(committed(1, vec![granted()]))
        .ask("in flight", |queue| queue.in_flight().to_string())
        .reads("queue/cancelled_while_waiting");
}

#[test]
fn cancelled_in_flight() {
    narrow()
        .tell(asked(1))
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .at("1s")
        .tell(committed(1, vec![granted()]))
        .run_until("60s")
        .reads("queue/cancelled_in_flight");
}

#[test]
fn leadership_lost() {
    narrow()
        .tell(asked(1))
        .tell(asked(2))
        .at("1s")
        .tell(Input::Followed { leader: Some(NodeId(2)) })
        .tell(asked(3))
        .at("2s")
        .tell(Input::Followed { leader: None })
        .tell(asked(4))
        .tell(Input::Advance)
        .at("3s")
        .tell(Input::NotProposed { batch: BatchId(1), leader: Some(NodeId(2)) })
        .reads("queue/leadership_lost");
}

#[test]
fn advance_passes_the_queue() {
    narrow()
        .tell(asked(1))
        .tell(asked(2))
        .tell(asked(3))
        .tell(asked(4))
        .at("1s")
        .tell(Input::Advance)
        .tell(Input::Advance)
        .ask("in flight", |queue| queue.in_flight().to_string())
        .at("2s")
        .tell(committed(2, vec![granted(), granted()]))
        .ask("in flight", |queue| queue.in_flight().to_string())
        .tell(Input::Advance)
        .reads("queue/advance_passes_the_queue");
}

#[test]
fn expired() {
    narrow()
        .tell(patient(1, "20s"))
        .tell(patient(2, "3s"))
        .tell(patient(3, "60m"))
        .run_until("60s")
        .tell(committed(1, vec![granted()]))
        .reads("queue/expired");
}

#[test]
fn renewals_go_first_and_claims_keep_their_share() {
    let mut story = story(Config { flights_max: 1, batch_max: 4, ..Config::default() });
    story.tell(asked(1));
    for serial in 2..=3 {
        story.tell(asked(serial));
    }
    for serial in 4..=10 {
        story.tell(renewed(serial));
    }
    story.tell(committed(1, vec![granted()]));
    drained(&mut story, &[4, 4, 1]);
    story.reads("queue/renewals_go_first_and_claims_keep_their_share");
}

#[test]
fn the_newest_claim_makes_way_for_a_renewal() {
    let mut story = story(Config { waiting_max: 4, flights_max: 1, ..Config::default() });
    for serial in 1..=5 {
        story.tell(asked(serial));
    }
    for serial in 6..=9 {
        story.tell(renewed(serial));
    }
    story.ask("waiting", |queue| queue.waiting().to_string());
    story.reads("queue/the_newest_claim_makes_way_for_a_renewal");
}

#[test]
fn full_by_bytes() {
    let operation = claim("mysql", "mysql/1");
    assert_eq!(size(&operation), OPERATION_BYTES + 22 + 1 + 5 + 7);
    let bytes = size(&operation);
    let config = Config { waiting_bytes_max: 2 * bytes, flights_max: 1, ..Config::default() };
    let mut story = story(config);
    for serial in 1..=4 {
        story.tell(asked(serial));
    }
    story
        .ask("waiting", |queue| format!("{} bytes", queue.waiting_bytes()))
        .tell(Input::Cancelled { ask: ask(1, 2) })
        .ask("waiting", |queue| format!("{} bytes", queue.waiting_bytes()))
        .tell(asked(5))
        .reads("queue/full_by_bytes");
}

#[test]
fn an_entry_is_no_larger_than_its_bytes() {
    let bytes = size(&claim("mysql", "mysql/1"));
    let config = Config { batch_bytes_max: 2 * bytes, flights_max: 1, ..Config::default() };
    let mut story = story(config);
    for serial in 1..=5 {
        story.tell(asked(serial));
    }
    let long = claim(&"x".repeat(2 * bytes), "mysql/6");
    let patience = lasting("10s");
    story
        .tell(Input::Asked { ask: ask(1, 6), operation: long, renews: false, patience })
        .tell(committed(1, vec![granted()]));
    drained(&mut story, &[2, 2]);
    story.reads("queue/an_entry_is_no_larger_than_its_bytes");
}
