use portcullis_core::clock::Anchor;
use portcullis_core::lease::{Done, Outcome, Refusal};
use portcullis_core::queue::{Config, Input, Queue};
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
    Input::Asked { ask: ask(1, serial), operation, patience: lasting(patience) }
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
