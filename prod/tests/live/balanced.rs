//! Agents that are too many: how they are told to go elsewhere, and who goes.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis::api::Place;
use portcullis::client::wire::{self, NotIn, Pass};
use portcullis::client::{Client, Config};
use portcullis::node;
use portcullis_core::balancer::{self, Policy};
use portcullis_core::{Address, agent, backoff, dialer};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Cluster, MODEL, Raw};

/// How many are at the first controller of two.
const AGENTS: usize = 8;

fn adjust(config: &mut node::Config) {
    config.controller.balancer = balancer::Config {
        policy: Policy::Redirect,
        surplus_least: 2,
        moves_rate: Duration::from_millis(10),
        move_again_after: Duration::from_millis(100),
        tell_every: Duration::from_millis(50),
        ..balancer::Config::default()
    };
}

fn pass() -> Pass {
    Pass { tag: "unit-mysql-0".into(), password: "secret".into() }
}

/// Somebody who speaks Juju's protocol and nothing else; nobody if sent elsewhere at the login.
async fn stranger(cluster: &Cluster) -> Option<Raw> {
    let mut raw = cluster.raw(1, &format!("/model/{MODEL}/api")).await;
    let Pass { tag, password } = pass();
    let login = json!({
        "type": "Admin", "version": 3, "request": "Login", "request-id": 1,
        "params": { "auth-tag": tag, "credentials": password },
    });
    raw.send(Message::text(login.to_string())).await.expect("it is sent");
    let answer = raw.next().await.expect("an answer").expect("a message");
    let text = answer.to_text().expect("text");
    let elsewhere = text.contains("redirection required");
    assert!(elsewhere || text.contains("controller-tag"), "{text}");
    (!elsewhere).then_some(raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_many_is_told_where_to_go_as_the_connection_ends() {
    let cluster = Cluster::start(2, adjust).await;
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        // Whoever comes late may find that there are too many already.
        agents.extend(stranger(&cluster).await);
    }
    // Whoever has been there the longest goes first.
    match agents[0].next().await {
        Some(Ok(Message::Close(Some(frame)))) => {
            assert_eq!(u16::from(frame.code), 1012);
            assert_eq!(frame.reason.as_str(), format!("redirect {}", cluster.addresses[&2]));
        }
        other => panic!("not closed: {other:?}"),
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_go_where_they_are_told_and_stay_there() {
    let cluster = Cluster::start(2, adjust).await;
    let never = Duration::from_secs(3_600);
    let config = || Config {
        agent: agent::Config {
            dialer: dialer::Config {
                manner: dialer::Manner::User,
                // Nobody comes back who was only disconnected.
                backoff: backoff::Config { first: never, most: never, growth: 200 },
                ..dialer::Config::default()
            },
            ..agent::Config::default()
        },
        addresses: vec![Address::new(&cluster.addresses[&1].to_string())],
        tls: cluster.client.clone(),
        pass: pass(),
        place: Place::Model(MODEL.into()),
        follows: None,
    };
    let clients: Vec<Client> =
        (0..AGENTS).map(|_| Client::start(&cluster.host, config())).collect();
    let there = Address::new(&cluster.addresses[&2].to_string());
    let even = || async {
        let standings = clients.iter().map(|client| client.standing().borrow().clone());
        let standings: Vec<_> = standings.collect();
        let all = standings.iter().all(|standing| standing.line.is_some());
        let gone = standings.iter().filter(|one| one.address.as_ref() == Some(&there)).count();
        (all && gone == AGENTS / 2).then_some(standings)
    };
    for standing in cluster.host.until("half of them are at the other", even).await {
        // Told once to go there: connected already, or, if it came late, at its login.
        let gone = u64::from(standing.address.as_ref() == Some(&there));
        assert_eq!(standing.moves + standing.redirects, gone, "{standing:?}");
        assert_eq!(standing.logins, 1 + standing.moves, "{standing:?}");
        assert_eq!(standing.moved_at.is_some(), standing.moves == 1, "{standing:?}");
    }
    drop(clients);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_is_told_when_to_come_back() {
    let cluster = Cluster::start(1, |config| {
        let balancer = &mut config.controller.balancer;
        (balancer.policy, balancer.refuse_one_in) = (Policy::RandomRefusal, 2);
    })
    .await;
    let soon = cluster.host.soon();
    let place = Place::Model(MODEL.into());
    let retry_after = loop {
        let stream = cluster.tcp(1).await;
        let line = wire::open(&cluster.host, stream, &cluster.client, "localhost", &place, soon);
        match line.await.expect("a connection").login(&pass(), soon).await {
            Ok(_) => {}
            Err(NotIn::TryAgain { retry_after }) => break retry_after,
            Err(other) => panic!("neither in nor to come back: {other:?}"),
        }
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    cluster.stop().await;
}
