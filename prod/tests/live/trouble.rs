//! What a machine does to a controller: its disk is full, or it stands still for a while.

use std::time::Duration;

use portcullis::client::wire::Line;
use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Key, Operation};
use portcullis_core::queue::Answer;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::processes::Processes;
use crate::world::MODEL;

const TWO_DOORS: &str = "api-port = API\ncontroller-api-port = CONTROLLER";
const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(10);
/// No file may be longer than this: the program's own words fit, and the log of claims does not.
const FILE_MAX: u64 = 24 << 10;

fn key(lease: &str) -> Key {
    Key::new("n", MODEL, lease)
}

fn claim(lease: &str, holder: &str, duration: Duration) -> Request {
    Request::Apply(Operation::Claim { key: key(lease), holder: holder.into(), duration })
}

async fn three() -> Processes {
    let mut all = Processes::prepare(3);
    for id in 1..=3 {
        all.write(id, TWO_DOORS);
        all.start(id);
    }
    for id in 1..=3 {
        all.health(id, 200, "running").await;
    }
    all.linked().await;
    all
}

async fn admin(all: &Processes, id: u64) -> Line {
    let api = all.api(id);
    all.until(id, "a login", || all.enter(&api, "user-admin")).await
}

/// Asks until it is granted, and says under which fence.
async fn granted(all: &Processes, id: u64, line: &Line, wish: &Request) -> u64 {
    let look = || async {
        match line.ask(wish, PATIENCE, all.host.soon()).await {
            Ok(Answer::Done { done: Done::Granted { fence, .. }, .. }) => Some(fence),
            _ => None,
        }
    };
    all.until(id, "granted", look).await
}

/// Who holds each of the leases, by a controller's word.
async fn holders(all: &Processes, line: &Line) -> Vec<(String, String)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = line.leases(Some("n"), None, after.as_ref(), all.host.soon()).await;
        let page = page.expect("a page");
        after = page.leases.last().map(|last| last.named.clone());
        found.extend(page.leases.into_iter().map(|one| (one.named.lease, one.holder)));
        if !page.more {
            return found;
        }
    }
}

/// Who leads once it is not this one any more, by the word of one of the others.
async fn another(all: &Processes, gone: u64) -> u64 {
    let other = (1..=3).find(|id| *id != gone).expect("two are left");
    let leads = || async {
        let leader = all.figure(other, "portcullis_raft_leader").await?;
        (leader > 0.0 && leader != gone as f64).then_some(leader as u64)
    };
    all.until(other, "another leads", leads).await
}

fn files(all: &Processes, id: u64, most: Option<u64>) {
    let process = Pid::from_raw(all.process(id)).expect("a process");
    let limit = Rlimit { current: most, maximum: None };
    prlimit(Some(process), Resource::Fsize, limit).expect("it is our own process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_a_leader_and_costs_nothing_that_was_acknowledged() {
    let mut all = three().await;
    let (leader, _) = all.led().await;
    let line = admin(&all, leader).await;
    let mut acknowledged = Vec::new();
    let mut ask = async |number: u64| {
        let lease = format!("lease-{number:04}");
        match line.ask(&claim(&lease, "mysql/0", LONG), PATIENCE, all.host.soon()).await {
            Ok(Answer::Done { done: Done::Granted { .. }, .. }) => {
                acknowledged.push(lease);
                true
            }
            Ok(_) | Err(_) => false,
        }
    };
    for number in 0..100 {
        assert!(ask(number).await, "it has room");
    }
    files(&all, leader, Some(FILE_MAX));
    for number in 100.. {
        if !ask(number).await {
            break;
        }
    }
    let status = all.ended(leader).await;
    let log = all.log(leader);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("the log cannot be written"), "{log}");
    assert!((log.len() as u64) < FILE_MAX, "its last words had room");

    // Somebody else leads, knows all of it and goes on.
    let next = another(&all, leader).await;
    let line = admin(&all, next).await;
    granted(&all, next, &line, &claim("after", "mysql/0", LONG)).await;
    let held = holders(&all, &line).await;
    let has = |lease: &String| held.iter().any(|(held, _)| held == lease);
    assert!(acknowledged.iter().all(has), "{acknowledged:?} of {held:?}");

    // With room it is back.
    all.start(leader);
    all.health(leader, 200, "running").await;
    let line = admin(&all, leader).await;
    assert_eq!(holders(&all, &line).await, held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_alone_with_a_full_disk_goes_on_where_it_was() {
    let mut all = Processes::prepare(1);
    all.write(1, TWO_DOORS);
    all.start(1);
    all.health(1, 200, "running").await;
    let line = admin(&all, 1).await;
    granted(&all, 1, &line, &claim("kept", "mysql/0", LONG)).await;
    files(&all, 1, Some(FILE_MAX));
    assert_eq!(all.ended(1).await.code(), Some(1), "the clock alone moves the log: {}", all.log(1));
    // There is no room yet: it says so and leaves everything as it is.
    all.start_with(1, |command| command);
    files(&all, 1, Some(FILE_MAX));
    assert_eq!(all.ended(1).await.code(), Some(1), "{}", all.log(1));
    all.start(1);
    all.health(1, 200, "running").await;
    let line = admin(&all, 1).await;
    assert_eq!(holders(&all, &line).await, [("kept".to_owned(), "mysql/0".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_grants_nothing_that_is_anothers() {
    let all = three().await;
    let (stopped, _) = all.led().await;
    let old = admin(&all, stopped).await;
    let short = Duration::from_secs(3);
    let first = granted(&all, stopped, &old, &claim("lead", "mysql/0", short)).await;
    all.signal(stopped, Signal::STOP);

    // The others elect one of them, and the lease runs out by their time.
    let next = another(&all, stopped).await;
    let new = admin(&all, next).await;
    let second = granted(&all, next, &new, &claim("lead", "mysql/1", LONG)).await;
    assert!(second > first, "the fence grows");

    // What it finds when it wakes up was asked while it stood still.
    let soon = all.host.soon();
    let held = key("lead");
    let extend = Operation::Extend { key: held, holder: "mysql/0".into(), duration: LONG };
    let (extend, again) = (Request::Apply(extend), claim("lead", "mysql/0", LONG));
    let asked = async {
        tokio::join!(
            old.ask(&extend, PATIENCE, soon),
            old.ask(&again, PATIENCE, soon),
            old.leases(Some("n"), None, None, soon),
        )
    };
    let wakes = async {
        // They are on their way by then: this is polled after them.
        all.signal(stopped, Signal::CONT);
    };
    let ((extended, claimed, list), ()) = tokio::join!(biased; asked, wakes);
    for answer in [extended, claimed] {
        let is_granted = matches!(answer, Ok(Answer::Done { done: Done::Granted { .. }, .. }));
        assert!(!is_granted, "two holders: {answer:?}");
    }
    if let Ok(list) = list {
        let holders: Vec<&str> = list.leases.iter().map(|one| one.holder.as_str()).collect();
        assert_eq!(holders, ["mysql/1"], "a stale look");
    }
    all.health(stopped, 200, "running").await;
    let line = admin(&all, stopped).await;
    assert_eq!(holders(&all, &line).await, [("lead".to_owned(), "mysql/1".to_owned())]);
}
