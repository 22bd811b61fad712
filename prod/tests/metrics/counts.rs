//! Whether what happened is what was counted.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis::metrics::{Limit, Metrics, Sheet};
use portcullis_core::lease::{Done, Refusal};
use portcullis_core::queue::Answer;
use serde_json::{Value, json};

use super::scraped::Scraped;
use super::world::World;

fn asked(lease: &str) -> Value {
    json!({ "lease": lease, "duration": 60.0 })
}

fn client<'a>(operation: &'a str, answer: &'a str) -> [(&'static str, &'a str); 3] {
    [("asker", "client"), ("operation", operation), ("answer", answer)]
}

fn used(scraped: &Scraped, limit: &str) -> u64 {
    scraped.sum("portcullis_limit_used", &[("limit", limit)]) as u64
}

#[tokio::test]
async fn what_happens_is_counted() {
    let world = World::start().await;
    let (zero, one) = (world.enter("unit-mysql-0").await, world.enter("unit-mysql-1").await);
    let call = async |line: &portcullis::client::wire::Line, method: &str, params| {
        line.call("Portcullis", 1, method, params, Some(world.soon())).await
    };
    for _ in 0..3 {
        call(&zero, "Claim", asked("mysql")).await.expect("it holds it");
    }
    for _ in 0..2 {
        call(&one, "Claim", asked("mysql")).await.expect("a refusal is an answer");
    }
    call(&zero, "Extend", asked("mysql")).await.expect("it holds it");
    let many = json!({ "asks": [asked("a"), asked("b"), asked("c")] });
    call(&zero, "ClaimMany", many).await.expect_err("more than two items");
    call(&zero, "Dance", json!({})).await.expect_err("there is no such method");
    // One waits, and has no place left for a second ask.
    let waits = one.clone();
    let soon = world.soon();
    let waiting = async { waits.call("Portcullis", 1, "Wait", asked("mysql"), Some(soon)).await };
    let refused = async {
        world.until(|scraped| used(scraped, "waits_max") == 1).await;
        call(&one, "Claim", asked("mysql")).await.expect("a refusal is an answer");
        call(&zero, "Revoke", asked("mysql")).await.expect("it holds it");
    };
    let (released, ()) = tokio::join!(waiting, refused);
    released.expect("it is free");

    let scraped = world.scrape().await;
    let sum = |name: &str, labels: &[(&str, &str)]| scraped.sum(name, labels) as u64;
    for (operation, answer, count) in [
        ("claim", "done", 3),
        ("claim", "refused", 2),
        ("claim", "overloaded", 1),
        ("claim", "unknown", 0),
        ("extend", "done", 1),
        ("revoke", "done", 1),
        ("wait", "released", 1),
    ] {
        let answered = sum("portcullis_answers_total", &client(operation, answer));
        assert_eq!(answered, count, "{operation} {answer}");
    }
    let timed = sum("portcullis_ask_seconds_count", &client("claim", "done"));
    assert_eq!(timed, 3);
    for (operation, result, count) in [
        ("claim", "success", 3),
        ("claim", "failure", 2),
        ("claim", "error", 1),
        ("extend", "success", 1),
        ("revoke", "success", 1),
        ("wait", "success", 1),
    ] {
        let labels = [("operation", operation), ("result", result)];
        assert_eq!(sum("juju_raftlease_request_count", &labels), count, "{labels:?}");
    }
    assert_eq!(sum("juju_raftlease_request_count", &[]), 9, "one for each ask");
    assert_eq!(sum("portcullis_retry_after_seconds_count", &[]), 1);

    // Nobody asked at the same time, so each entry carried one command.
    assert_eq!(sum("portcullis_batch_commands_count", &[]), 7);
    assert_eq!(sum("portcullis_batch_commands_sum", &[]), 7);
    assert!(sum("portcullis_batch_bytes_sum", &[]) > 7 * 50, "a command has a UUID in it");
    let commits = sum("portcullis_commit_seconds_count", &[("result", "committed")]);
    assert_eq!(commits, 7 + sum("portcullis_clock_entries_total", &[]));
    assert_eq!(sum("juju_raftapply_applications_count", &[("result", "success")]), commits);
    assert_eq!(sum("portcullis_applied_commands_total", &[("result", "done")]), 5);
    assert_eq!(sum("portcullis_applied_commands_total", &[("result", "held")]), 2);
    assert_eq!(sum("portcullis_applied_entries_total", &[]), commits);
    assert!(sum("portcullis_sync_seconds_count", &[]) >= 7, "each is on the disk");
    assert!(scraped.sum("portcullis_clock_lag_seconds", &[]) < 10.0);

    let refusals = |limit| sum("portcullis_limit_refusals_total", &[("limit", limit)]);
    assert_eq!(refusals("asks_per_connection_max"), 1);
    assert_eq!(refusals("items_max"), 1);
    assert_eq!(refusals("waiting_max") + refusals("waits_max") + refusals("patience_max"), 0);

    let unknown = [("facade", "unknown"), ("method", "unknown"), ("error_code", "not implemented")];
    assert_eq!(sum("juju_apiserver_request_duration_seconds_count", &unknown), 1);
    let claims = [("facade", "Portcullis"), ("method", "Claim"), ("error_code", "")];
    assert_eq!(sum("juju_apiserver_request_duration_seconds_count", &claims), 6);

    assert_eq!(sum("juju_apiserver_connections", &[("endpoint", "api")]), 2);
    assert_eq!(sum("portcullis_logins_total", &[("result", "welcome")]), 2);
    assert_eq!(sum("portcullis_limit_used", &[("limit", "connections_max")]), 2);
    assert_eq!(sum("portcullis_limit_used", &[("limit", "logins_max")]), 0);
    assert_eq!(sum("portcullis_handshake_seconds_count", &[("result", "client")]), 2);
    assert_eq!(sum("portcullis_limit_used", &[("limit", "asks_per_connection_max")]), 1);
    assert_eq!(sum("portcullis_raft_leader", &[]), 1);
    assert_eq!(sum("portcullis_raft_state", &[("state", "leader")]), 1);
    world.node.stop().await;
}

#[tokio::test]
async fn what_is_shed_is_counted_by_the_limit_that_shed_it() {
    let world = World::start_with(|limits| {
        // As many as ask at a time below: whoever has its answer counts no more.
        limits.asks_per_connection_max = 50;
        limits.queue.waiting_max = 1;
        limits.queue.batch_max = 1;
        limits.queue.flights_max = 1;
        limits.waits.waits_max = 1;
    })
    .await;
    let unit = world.enter("unit-mysql-0").await;
    let soon = Some(world.soon());
    let ask = |method| unit.call("Portcullis", 1, method, asked("mysql"), soon);
    let answers = join_all((0..50).map(|_| ask("Claim"))).await;
    assert!(answers.iter().all(Result::is_ok), "a refusal is an answer");
    let scraped = world.scrape().await;
    let refusals = |scraped: &Scraped, limit| {
        scraped.sum("portcullis_limit_refusals_total", &[("limit", limit)]) as u64
    };
    let shed = scraped.sum("portcullis_answers_total", &client("claim", "overloaded")) as u64;
    assert!(shed > 0, "one is in flight, one waits, and the disk is not that fast");
    assert_eq!(refusals(&scraped, "waiting_max"), shed);
    assert_eq!(scraped.sum("portcullis_retry_after_seconds_count", &[]) as u64, shed);

    let second = async {
        world.until(|scraped| used(scraped, "waits_max") == 1).await;
        ask("Wait").await.expect("a refusal is an answer");
        ask("Revoke").await.expect("it holds it");
    };
    let (first, ()) = tokio::join!(ask("Wait"), second);
    first.expect("it is free");
    let scraped = world.scrape().await;
    assert_eq!(refusals(&scraped, "waits_max"), 1);
    assert_eq!(refusals(&scraped, "waiting_max"), shed);
    assert_eq!(refusals(&scraped, "asks_per_connection_max"), 0);
    world.node.stop().await;
}

#[tokio::test]
async fn a_connection_is_counted_for_as_long_as_it_is_there() {
    let world = World::start().await;
    let line = world.enter("unit-mysql-0").await;
    let api = [("endpoint", "api")];
    assert_eq!(world.scrape().await.sum("juju_apiserver_connections", &api) as u64, 1);
    drop(line);
    let gone = |scraped: &Scraped| scraped.sum("juju_apiserver_connections", &api) == 0.0;
    let scraped = world.until(gone).await;
    assert_eq!(scraped.sum("juju_apiserver_connections_total", &api) as u64, 1);
    for limit in ["connections_max", "logins_max"] {
        assert_eq!(scraped.sum("portcullis_limit_used", &[("limit", limit)]) as u64, 0, "{limit}");
    }
    world.node.stop().await;
}

#[tokio::test]
async fn metrics_and_health_are_shown_at_two_places() {
    let world = World::start().await;
    let health = world.plain("GET /health").await;
    let conditions = "holds controller-door-open\nholds self-connected\nholds led\n\
                      holds caught-up\nholds worker metrics\nholds api-door-open\n\
                      api-door open\nconnections 0\n";
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(health.ends_with(&format!("\r\n\r\nrunning\n{conditions}")), "{health}");
    assert!(world.plain("GET /elsewhere").await.starts_with("HTTP/1.1 404 "));
    assert!(world.plain("POST /metrics").await.starts_with("HTTP/1.1 405 "));
    for (who, status) in [("user-admin", 200), ("machine-1", 200), ("user-nobody", 401)] {
        let basic = data_encoding::BASE64.encode(format!("{who}:secret").as_bytes());
        let header = format!("Authorization: Basic {basic}\r\n");
        let answer = world.encrypted("GET /introspection/metrics", &header).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{who}: {answer}");
        assert_eq!(answer.contains("\nportcullis_running 1"), status == 200, "{who}: {answer}");
    }
    // They never logged in for good, and are not here any more.
    world.until(|scraped| used(scraped, "logins_max") == 0).await;
    world.node.stop().await;
}

#[tokio::test]
async fn every_limit_has_a_bound_and_a_use() {
    let world = World::start().await;
    let scraped = world.scrape().await;
    for limit in Limit::ALL {
        let label = [("limit", limit.name())];
        let refusals = "portcullis_limit_refusals_total";
        if limit == Limit::Patience {
            // It is a time, and counted only when it is too short.
            assert_eq!(scraped.sum(refusals, &label) as u64, 0);
            continue;
        }
        let (used, bound) =
            (scraped.sum("portcullis_limit_used", &label), scraped.sum("portcullis_limit", &label));
        assert!((0.0..=bound).contains(&used), "{limit:?}: {used} of {bound}");
        if limit.refuses() {
            assert_eq!(scraped.sum(refusals, &label) as u64, 0, "{limit:?}");
        }
    }
    world.node.stop().await;
}

#[test]
fn every_answer_is_counted_as_what_it_is() {
    let took = Duration::from_millis(3);
    let retry_after = Duration::from_secs(1);
    let answers = [
        (Answer::Done { index: 1, done: Done::Revoked }, "done", "success"),
        (Answer::Refused { index: 1, refusal: Refusal::NotHeld }, "refused", "failure"),
        (Answer::Released, "released", "success"),
        (Answer::Overloaded { retry_after }, "overloaded", "error"),
        (Answer::NotLeader { leader: None }, "not-leader", "error"),
        (Answer::Expired, "expired", "delivery timeout"),
        (Answer::Cancelled, "cancelled", "error"),
        (Answer::Unknown, "unknown", "response timeout"),
    ];
    for (answer, told, result) in answers {
        let metrics = Metrics::new([]);
        metrics.answered(false, "claim", &answer, took);
        metrics.answered(true, "claim", &answer, took);
        let scraped = Scraped::read(&metrics.text(&Sheet::default()));
        for asker in ["client", "controller"] {
            let labels = [("asker", asker), ("operation", "claim"), ("answer", told)];
            assert_eq!(scraped.sum("portcullis_answers_total", &labels) as u64, 1, "{told}");
            assert_eq!(scraped.sum("portcullis_ask_seconds_count", &labels) as u64, 1, "{told}");
        }
        assert_eq!(scraped.sum("portcullis_answers_total", &[]) as u64, 2, "{told}, and no other");
        let juju = [("operation", "claim"), ("result", result)];
        assert_eq!(scraped.sum("juju_raftlease_request_count", &juju) as u64, 1, "{told}");
        assert_eq!(scraped.sum("juju_raftlease_request_sum", &juju) as u64, 3, "milliseconds");
    }
}
