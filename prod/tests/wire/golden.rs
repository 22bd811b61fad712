//! What python-libjuju sent, replayed, and what it was content with, demanded.
//!
//! A file is one measured exchange: `GET` opens a connection, `C->S` is sent, `S->C` must come. Of
//! the facades that a login names, those of the file must be among ours.

use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use portcullis::api::{FACADES, Place};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::world::{MODEL, Raw, World};

/// One connection of an exchange.
struct Side {
    raw: Raw,
    /// What has come and was not asked for yet.
    heard: Vec<Value>,
}

impl Side {
    /// The answer to the request of this number.
    async fn answer(&mut self, number: &Value) -> Value {
        loop {
            if let Some(at) = self.heard.iter().position(|one| one["request-id"] == *number) {
                return self.heard.remove(at);
            }
            match self.raw.next().await {
                Some(Ok(Message::Text(text))) => {
                    self.heard.push(serde_json::from_str(&text).expect("JSON"));
                }
                other => panic!("no answer to {number}: {other:?}"),
            }
        }
    }
}

async fn replay(exchange: &str) {
    let mut world = World::new();
    let mut sides = BTreeMap::new();
    for line in exchange.lines() {
        let (connection, line) = line.split_once(' ').expect("a connection");
        let (way, what) = line.split_once(' ').expect("which way");
        if way == "GET" {
            let side = Side { raw: world.raw(what).await, heard: Vec::new() };
            sides.insert(connection, side);
            continue;
        }
        let side = sides.get_mut(connection).expect("an open connection");
        if way == "C->S" {
            side.raw.send(Message::text(what)).await.expect("sent");
            continue;
        }
        let mut wanted: Value = serde_json::from_str(what).expect("JSON");
        let mut answer = side.answer(&wanted["request-id"]).await;
        let facades = |answer: &mut Value| match answer["response"].get_mut("facades") {
            Some(facades) => facades.take().as_array().cloned().expect("a list"),
            None => Vec::new(),
        };
        let ours = facades(&mut answer);
        for facade in facades(&mut wanted) {
            assert!(ours.contains(&facade), "{facade} is not one of {ours:?}");
        }
        assert_eq!(answer, wanted, "{connection}");
    }
}

#[tokio::test]
async fn a_user_logs_in_and_pings() {
    replay(include_str!("golden/01-connect.txt")).await;
}

#[tokio::test]
async fn a_controller_is_connected_to() {
    replay(include_str!("golden/02-controller-connect.txt")).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    replay(include_str!("golden/03-wrong-password.txt")).await;
}

#[tokio::test]
async fn a_model_is_logged_in_to() {
    replay(include_str!("golden/04-model-login.txt")).await;
}

#[tokio::test]
async fn a_redirect_is_asked_for_and_followed() {
    replay(include_str!("golden/05-redirect.txt")).await;
}

#[tokio::test]
async fn a_redirect_by_consent_is_left_to_the_user() {
    replay(include_str!("golden/06-redirect-by-consent.txt")).await;
}

#[tokio::test]
async fn a_controller_machine_works() {
    replay(include_str!("golden/08-controller-machine.txt")).await;
}

#[tokio::test]
async fn high_availability_is_there() {
    replay(include_str!("golden/09-enable-ha.txt")).await;
}

#[tokio::test]
async fn what_there_is_not_is_not_implemented() {
    replay(include_str!("golden/10-not-implemented.txt")).await;
}

#[tokio::test]
async fn a_model_is_connected_to_and_watched() {
    replay(include_str!("golden/11-model-connect.txt")).await;
}

#[tokio::test]
async fn facades_are_listed_in_order_where_they_are_found() {
    let mut world = World::new();
    for place in [Place::Controller, Place::Model(MODEL.into())] {
        let line = world.line(&place).await;
        let login = json!({ "auth-tag": "user-admin", "credentials": "secret" });
        let soon = Some(world.host.soon());
        let welcome = line.call("Admin", 3, "Login", login, soon).await.expect("a welcome");
        let listed = welcome["facades"].as_array().expect("a list");
        let names: Vec<&str> = listed.iter().filter_map(|one| one["name"].as_str()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let found = FACADES.iter().filter(|facade| facade.found(&place));
        assert!(found.map(|facade| facade.name).eq(names.iter().copied()), "{names:?}");
        assert_eq!(names.contains(&"ModelManager"), place == Place::Controller);
        assert_eq!(names.contains(&"LeadershipService"), place != Place::Controller);
    }
}
