//! A store over a long life: it stays small, and who was away for longer than its log goes back is
//! given a snapshot while everybody else goes on.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis::client::wire::Line;
use portcullis::env::Env;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::processes::Processes;
use crate::world::MODEL;

const TWO_DOORS: &str = "api-port = API\ncontroller-api-port = CONTROLLER";
/// Items of one bulk call.
const MANY: u64 = 64;
/// Calls of one connection at a time: more would be more asks than it may have.
const CALLS: usize = 4;

fn asks(
    method: &str,
    numbers: std::ops::Range<u64>,
    name: impl Fn(u64) -> String,
) -> (String, Value) {
    let ask = |number| {
        let lease = name(number);
        json!({ "lease": lease, "holder": "mysql/0", "model": MODEL, "duration": 3_600.0 })
    };
    (format!("{method}Many"), json!({ "asks": numbers.map(ask).collect::<Vec<_>>() }))
}

/// Claims or extends so many leases, a few calls at a time, and sees each of them granted.
async fn granted(
    all: &Processes,
    line: &Line,
    method: &str,
    numbers: std::ops::Range<u64>,
    name: impl Fn(u64) -> String + Copy,
) {
    let end = numbers.end;
    let firsts: Vec<u64> = numbers.step_by(MANY as usize).collect();
    for firsts in firsts.chunks(CALLS) {
        let calls = firsts.iter().map(|&first| async move {
            let (method, params) = asks(method, first..end.min(first + MANY), name);
            let told = line.call("Portcullis", 1, &method, params, Some(all.host.soon())).await;
            let told = told.expect("an answer");
            let results = told["results"].as_array().expect("as many answers").clone();
            assert!(results.iter().all(|one| one["outcome"] == "granted"), "{told}");
        });
        join_all(calls).await;
    }
}

async fn index(all: &Processes, id: u64, of: &str) -> f64 {
    let name = format!("portcullis_raft_index{{of=\"{of}\"}}");
    all.until(id, &name, || all.figure(id, &name)).await
}

async fn admin(all: &Processes, id: u64) -> Line {
    let api = all.api(id);
    all.until(id, "a login", || all.enter(&api, "user-admin")).await
}

async fn limit(all: &Processes, id: u64, of: &str, limit: &str) -> f64 {
    let name = format!("portcullis_limit{of}{{limit=\"{limit}\"}}");
    all.until(id, &name, || all.figure(id, &name)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_stays_small_however_much_is_renewed() {
    const LEASES: u64 = 2_000;
    let mut all = Processes::prepare(1);
    let log = "raft.snapshot-bytes = 65536\nraft.log-kept-bytes = 16384";
    all.write(1, &format!("{TWO_DOORS}\n{log}"));
    all.start(1);
    all.health(1, 200, "running").await;
    let line = admin(&all, 1).await;
    let name = |number| format!("app-{number}");
    granted(&all, &line, "Claim", 0..LEASES, name).await;
    // What is written between two looks at the log is on top of its bounds, so the file is compared
    // with itself: after some cuts, and after many more.
    let purged = async || {
        let name = "portcullis_raft_index{of=\"purged\"}";
        all.figure(1, name).await.unwrap_or(0.0)
    };
    let renewed = async |cuts| {
        let (mut seen, mut last) = (0, purged().await);
        while seen < cuts {
            granted(&all, &line, "Extend", 0..LEASES, name).await;
            let now = purged().await;
            seen += u32::from(now > last);
            last = now;
        }
        all.figure(1, "portcullis_store_bytes").await.expect("it runs")
    };
    let early = renewed(2).await;
    let file = renewed(10).await;
    let bounded = || async {
        let used = all.figure(1, "portcullis_limit_used{limit=\"log_bytes_max\"}").await?;
        let bound = all.figure(1, "portcullis_limit{limit=\"log_bytes_max\"}").await?;
        assert_eq!(bound, 81_920.0);
        (used <= bound).then_some(())
    };
    all.until(1, "the log is cut by its bytes", bounded).await;
    let entries = limit(&all, 1, "_used", "log_entries_max").await;
    assert!(entries <= limit(&all, 1, "", "log_entries_max").await, "{entries} entries");
    assert!(index(&all, 1, "purged").await > 0.0);
    let snapshot = all.figure(1, "portcullis_snapshot_bytes").await.expect("it runs");
    println!("{early}, {file} bytes of store; a snapshot of {snapshot} bytes, {entries} entries");
    // What a lease takes is its names and some numbers.
    let each = snapshot / LEASES as f64;
    assert!((20.0..120.0).contains(&each), "{each} bytes a lease");
    // Twice room for twice as much, as redb grows; six times as much was written.
    assert!(file < 4_000_000.0 + 4.0 * early, "{file} bytes after {early}");
}

/// Three controllers with short logs; the first of them that follows is cut off.
struct Cluster {
    all: Processes,
    /// Leases there are.
    claimed: u64,
}

/// Names so long that a few thousand leases are a snapshot of many chunks.
fn long(number: u64) -> String {
    format!("app-{number}-{}", "x".repeat(230))
}

impl Cluster {
    async fn start() -> Cluster {
        let mut all = Processes::prepare(3);
        let log = "raft.snapshot-every = 50\nraft.log-kept = 5\nlimits.batch-max = 256";
        for id in 1..=3 {
            all.write(id, &format!("{TWO_DOORS}\n{log}"));
            all.start(id);
        }
        for id in 1..=3 {
            all.health(id, 200, "running").await;
        }
        all.linked().await;
        Cluster { all, claimed: 0 }
    }

    async fn kill(&mut self, id: u64) {
        self.all.signal(id, Signal::KILL);
        self.all.ended(id).await;
    }

    /// Claims so many leases more at the leader, until its log begins after all that there was.
    async fn move_on(&mut self, leader: u64, leases: u64) {
        let last = index(&self.all, leader, "log").await;
        let line = admin(&self.all, leader).await;
        let next = self.claimed + leases;
        granted(&self.all, &line, "Claim", self.claimed..next, long).await;
        self.claimed = next;
        loop {
            if index(&self.all, leader, "purged").await > last {
                return;
            }
            // An entry each: the log is cut behind a snapshot every fifty.
            granted(&self.all, &line, "Extend", 0..1, long).await;
        }
    }

    fn coming(&self, id: u64) -> usize {
        self.all.log(id).matches("a snapshot is coming in").count()
    }

    /// Waits until the controller has all that another one has committed, by a snapshot.
    async fn caught_up(&self, id: u64, with: u64) {
        let wanted = index(&self.all, with, "committed").await;
        let applied = || async {
            let name = "portcullis_raft_index{of=\"applied\"}";
            (self.all.figure(id, name).await? >= wanted).then_some(())
        };
        self.all.until(id, "it has caught up", applied).await;
        let received = "portcullis_snapshots_total{result=\"received\"}";
        assert!(self.all.figure(id, received).await >= Some(1.0), "{}", self.all.log(id));
    }

    /// Waits for the first chunk, and not a moment longer.
    async fn first_chunk(&self, id: u64, before: usize) {
        let deadline = self.all.host.soon();
        while self.coming(id) == before {
            assert!(self.all.host.now() < deadline, "no snapshot:\n{}", self.all.log(id));
            self.all.host.sleep_until(self.all.host.now() + Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_is_given_a_snapshot_while_claims_go_on() {
    let mut cluster = Cluster::start().await;
    let (leader, _) = cluster.all.led().await;
    let away = (1..=3).find(|id| *id != leader).expect("two follow");
    cluster.kill(away).await;
    cluster.move_on(leader, 6_000).await;

    let mut least = None;
    // Killed in the middle of it, it is sent another one. It may have been done by then.
    for attempt in 1.. {
        least = cluster.all.figure(leader, "portcullis_snapshot_bytes").await.or(least);
        let before = cluster.coming(away);
        cluster.all.start(away);
        cluster.first_chunk(away, before).await;
        cluster.kill(away).await;
        cluster.all.start(away);
        let line = admin(&cluster.all, leader).await;
        let name = |number| format!("meanwhile-{number}");
        let mut answered = 0;
        let meanwhile = async {
            loop {
                granted(&cluster.all, &line, "Claim", answered..answered + 1, name).await;
                answered += 1;
            }
        };
        tokio::select! {
            biased;
            () = cluster.caught_up(away, leader) => {}
            () = meanwhile => unreachable!("it claims on and on"),
        }
        assert!(answered > 0, "claims are answered meanwhile");
        if cluster.coming(away) == before + 2 {
            break;
        }
        assert!(attempt < 5, "never killed in the middle:\n{}", cluster.all.log(away));
        cluster.kill(away).await;
        cluster.move_on(leader, 640).await;
    }
    let sent = "portcullis_snapshots_total{result=\"sent\"}";
    assert!(cluster.all.figure(leader, sent).await >= Some(1.0));
    let bytes = "portcullis_snapshot_transferred_bytes_total{result=\"received\"}";
    // The leader takes larger ones as claims go on.
    assert!(least > Some(0.0) && cluster.all.figure(away, bytes).await >= least, "all in chunks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_sender_dies_is_sent_by_the_next_leader() {
    let mut cluster = Cluster::start().await;
    let (leader, _) = cluster.all.led().await;
    let away = (1..=3).find(|id| *id != leader).expect("two follow");
    let next = 6 - leader - away;
    cluster.kill(away).await;
    cluster.move_on(leader, 6_000).await;
    cluster.all.start(away);
    cluster.first_chunk(away, 0).await;
    cluster.kill(leader).await;
    // Neither of the two that are left can do anything without the other.
    cluster
        .all
        .until(away, "the next leader", || async {
            (cluster.all.figure(away, "portcullis_raft_leader").await? == next as f64).then_some(())
        })
        .await;
    // It knows the past once the other has gone on from its snapshot.
    let knows = "portcullis_condition{condition=\"led\"}";
    let led = || async { (cluster.all.figure(next, knows).await? == 1.0).then_some(()) };
    cluster.all.until(next, "it leads", led).await;
    let line = admin(&cluster.all, next).await;
    granted(&cluster.all, &line, "Extend", 0..cluster.claimed, long).await;
    cluster.caught_up(away, next).await;
    cluster.all.start(leader);
    cluster.all.health(leader, 200, "running").await;
}
