//! What breaks the rules, and harms nobody else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis::api::{Place, Standing};
use portcullis::client::wire::{self, Failure, NotOpened, Pass};
use portcullis::rpc::Farewell;
use portcullis::tls::{self, Authority, KeyKind, Validity};
use portcullis_core::controller::Request;
use portcullis_core::lease::Key;
use portcullis_core::queue::Answer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::world::{MODEL, Raw, World};

async fn said(raw: &mut Raw) -> Value {
    match raw.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("no text: {other:?}"),
    }
}

/// What the connection is closed with.
async fn closed(raw: &mut Raw) -> (CloseCode, String) {
    loop {
        match raw.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                return (frame.code, frame.reason.as_str().to_owned());
            }
            Some(Ok(_)) => {}
            other => panic!("not closed: {other:?}"),
        }
    }
}

/// The whole of what an HTTP request is answered with.
async fn http(world: &mut World, request: &str) -> String {
    let (stream, _) = world.pipe();
    let mut stream = tls::dial_api(&world.client, stream).await.expect("TLS");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("TLS's own goodbye at the end");
    text
}

#[tokio::test]
async fn what_is_no_request_closes_its_own_connection_only() {
    let mut world = World::new();
    let admin = world.admin(&Place::Controller).await;
    let big = "x".repeat(256 * 1024 + 1);
    let foul = [
        (Message::text("{"), CloseCode::Invalid, "not JSON: "),
        (Message::text("[]"), CloseCode::Invalid, "not a JSON object"),
        (Message::text(r#"{"request-id":1,"response":{}}"#), CloseCode::Invalid, "neither type"),
        (Message::binary(vec![0xff, 2]), CloseCode::Invalid, "bytes that are not UTF-8"),
        (Message::text(big), CloseCode::Size, "a message of 262145 bytes is over the 262144"),
    ];
    for (message, code, reason) in foul {
        let mut raw = world.raw("/api").await;
        raw.send(message).await.expect("sent");
        let (told, why) = closed(&mut raw).await;
        assert_eq!(told, code, "{why}");
        assert!(why.starts_with(reason), "{why}");
    }
    admin.ping(world.host.soon()).await.expect("others are not harmed");
}

#[tokio::test]
async fn a_request_with_a_wrong_member_is_answered() {
    let mut world = World::new();
    let mut raw = world.raw("/api").await;
    raw.send(Message::text(r#"{"request-id":5,"type":[],"request":"Login"}"#)).await.expect("sent");
    let answer = said(&mut raw).await;
    assert_eq!(
        answer,
        json!({
            "request-id": 5, "error": "type is not a string",
            "error-code": "bad request", "response": {},
        })
    );
    let login = r#"{"request-id":6,"type":"Admin","request":"Login","version":3,"params":[7]}"#;
    raw.send(Message::text(login)).await.expect("sent");
    assert_eq!(said(&mut raw).await["error-code"], "bad request");
}

#[tokio::test]
async fn params_that_mean_nothing_are_refused_and_harm_nothing() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let model = Place::Model(MODEL.into());
    let (machine, admin) = (world.machine(0).await, world.admin(&model).await);
    let top = world.admin(&Place::Controller).await;
    let many: Vec<Value> = (0..65).map(|_| json!({})).collect();
    let bad = "bad request";
    for (line, facade, version, method, params, code) in [
        (&machine, "Singular", 2, "Claim", json!({ "claims": {} }), bad),
        (&machine, "Singular", 2, "Claim", json!({ "claims": [{ "duration": "1m" }] }), bad),
        (&machine, "Singular", 2, "Claim", json!({ "claims": many }), bad),
        (&machine, "Singular", 2, "Wait", json!({ "entities": [7] }), bad),
        (&machine, "RaftLease", 1, "ApplyLease", json!({ "commands": [{ "command": 1 }] }), bad),
        (&machine, "RaftLease", 2, "ApplyLease", json!({ "commands": [{ "lease": [] }] }), bad),
        (&machine, "RaftLease", 3, "ApplyLease", json!({}), "not implemented"),
        (&machine, "NotifyWatcher", 1, "Next", json!({}), "not found"),
        (&admin, "AllWatcher", 3, "Stop", json!({}), "not found"),
        (&admin, "Portcullis", 1, "Watch", json!({ "from": -1 }), bad),
        (&admin, "Portcullis", 1, "Watch", json!({ "patience": -1 }), "not valid"),
        (&admin, "Portcullis", 1, "ClaimMany", json!({ "asks": many }), bad),
        (&admin, "Portcullis", 1, "Claim", json!({ "lease": "x".repeat(257) }), "not valid"),
        (&admin, "ModelManager", 10, "ModelInfo", json!({}), "not implemented"),
        (&top, "ModelManager", 10, "ModelInfo", json!({ "entities": "all" }), bad),
        (&top, "HighAvailability", 2, "EnableHA", json!({ "specs": [{}, {}] }), "not supported"),
    ] {
        match line.call(facade, version, method, params, soon).await {
            Err(Failure::Answered(error)) => assert_eq!(error.code, code, "{facade}.{method}"),
            other => panic!("{facade}.{method}: {other:?}"),
        }
    }
    let entities = json!({ "entities": [{ "tag": "model-none" }, { "tag": "mysql" }, {}] });
    let told = top.call("ModelManager", 10, "ModelInfo", entities, soon).await.expect("results");
    assert_eq!(told["results"][0]["error"]["code"], "model not found");
    assert_eq!(told["results"][1]["error"]["message"], r#""mysql" is not a valid tag"#);
    let deep = format!(r#"{{"request-id":1,"type":"Admin","params":{}"#, "[".repeat(200_000));
    let mut raw = world.raw("/api").await;
    raw.send(Message::text(deep)).await.expect("sent");
    assert_eq!(closed(&mut raw).await.0, CloseCode::Invalid, "depth is bounded");
    for line in [&machine, &admin, &top] {
        line.ping(world.host.soon()).await.expect("nothing has come of it");
    }
}

#[tokio::test]
async fn watchers_are_bounded_and_end_with_their_connection() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let machine = world.machine(0).await;
    let other = world.machine(1).await;
    for number in 1..=world.config.watchers_max {
        let made = machine.call("Machiner", 5, "WatchAPIHostPorts", json!({}), soon).await;
        assert_eq!(made, Ok(json!({ "watcher-id": number.to_string() })));
    }
    match machine.call("Machiner", 5, "WatchAPIHostPorts", json!({}), soon).await {
        Err(Failure::Answered(error)) => assert_eq!(error.code, "quota limit exceeded"),
        other => panic!("one more than may be: {other:?}"),
    }
    let made = other.call("Machiner", 5, "WatchAPIHostPorts", json!({}), soon).await;
    assert_eq!(made, Ok(json!({ "watcher-id": "1" })), "every connection counts its own");
}

#[tokio::test]
async fn fragments_with_a_ping_between_them_are_one_message() {
    let mut world = World::new();
    let mut raw = world.raw("/api").await;
    let (one, other) = (r#"{"request-id":8,"type":"Admin","#, r#""request":"Login","version":3}"#);
    let text = OpCode::Data(Data::Text);
    let first = Frame::message(one.as_bytes().to_vec(), text, false);
    let last = Frame::message(other.as_bytes().to_vec(), OpCode::Data(Data::Continue), true);
    raw.send(Message::Frame(first)).await.expect("sent");
    raw.send(Message::Ping(vec![7].into())).await.expect("sent");
    raw.send(Message::Frame(last)).await.expect("sent");
    let mut ponged = false;
    let answer = loop {
        match raw.next().await {
            Some(Ok(Message::Pong(payload))) => ponged = payload.as_ref() == [7],
            Some(Ok(Message::Text(text))) => break text,
            other => panic!("neither pong nor answer: {other:?}"),
        }
    };
    assert!(ponged, "the ping is answered before there is a login");
    assert!(answer.starts_with(r#"{"request-id":8,"error":"invalid entity name"#), "{answer}");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_try_again() {
    let mut world = World::new();
    world.config.requests_max = 2;
    let admin = world.admin(&Place::Controller).await;
    let key = |lease: &str| Key::new("n", MODEL, lease);
    let claim = portcullis_core::lease::Operation::Claim {
        key: key("held"),
        holder: "admin".into(),
        duration: Duration::from_secs(60),
    };
    let soon = world.host.soon();
    let claimed = admin.ask(&Request::Apply(claim), Duration::ZERO, soon).await;
    assert!(matches!(claimed, Ok(Answer::Done { .. })), "{claimed:?}");
    let wish = Request::Wait(key("held"));
    let wait = || admin.ask(&wish, Duration::ZERO, soon);
    let third = tokio::select! {
        biased;
        _ = async { tokio::join!(wait(), wait()) } => panic!("the lease is held"),
        third = wait() => third,
    };
    let retry_after = Duration::from_secs(1);
    assert_eq!(third, Ok(Answer::Overloaded { retry_after }));
}

#[tokio::test]
async fn a_broken_connection_leaves_calls_unknown() {
    let mut world = World::new();
    let (stream, hangup) = world.pipe();
    let place = Place::Controller;
    let soon = world.host.soon();
    let line = wire::open(&world.host, stream, &world.client, "localhost", &place, soon)
        .await
        .expect("a connection");
    let pass = Pass { tag: "user-admin".into(), password: "secret".into() };
    line.login(&pass, soon).await.expect("a login");
    let key = Key::new("n", MODEL, "l");
    let holder = "admin".into();
    let claim = portcullis_core::lease::Operation::Claim {
        key: key.clone(),
        holder,
        duration: Duration::from_secs(60),
    };
    line.ask(&Request::Apply(claim), Duration::ZERO, soon).await.expect("an answer");
    let wish = Request::Wait(key);
    let wait = line.ask(&wish, Duration::ZERO, soon);
    let cut = async {
        line.ping(soon).await.expect("the wait before it has been read");
        hangup.send("enough".into()).expect("somebody listens");
    };
    let (waited, ()) = tokio::join!(wait, cut);
    assert_eq!(waited, Ok(Answer::Unknown));
    assert_eq!(line.gone().await, Some(Farewell::Closed("enough".into())));
    assert_eq!(line.ping(soon).await, Err(Failure::NotSent));
    assert_eq!(world.controller.closed.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_call_without_an_answer_ends_by_its_deadline() {
    let mut world = World::new();
    let unit = world.unit(0).await;
    let other = world.unit(1).await;
    let claim = json!({ "params": [{
        "application-tag": "application-mysql", "unit-tag": "unit-mysql-1", "duration": 60,
    }] });
    let soon = Some(world.host.soon());
    let claimed = other.call("LeadershipService", 2, "ClaimLeadership", claim, soon).await;
    assert_eq!(claimed, Ok(json!({ "results": [{}] })));
    let at = portcullis::env::Env::now(&world.host) + Duration::from_millis(20);
    let name = json!({ "Name": "mysql" });
    let facade = "LeadershipService";
    let waited = unit.call(facade, 2, "BlockUntilLeadershipReleased", name, Some(at)).await;
    assert_eq!(waited, Err(Failure::Unknown));
    unit.ping(world.host.soon()).await.expect("the connection goes on");
}

#[tokio::test]
async fn http_is_answered_or_refused() {
    let mut world = World::new();
    let tail = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let health = http(&mut world, &format!("GET /health {tail}")).await;
    let conditions = "holds led\nwaits api-door-open\n\
                      api-door waiting until this controller is stable\nconnections 7\n";
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
    assert!(health.ends_with(&format!("\r\n\r\nrunning\n{conditions}")), "{health}");
    for (standing, word) in [(Standing::Starting, "starting"), (Standing::Stopping, "stopping")] {
        *world.controller.standing.lock().expect("no panic") = standing;
        let health = http(&mut world, &format!("GET /health {tail}")).await;
        assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
        assert!(health.ends_with(&format!("\r\n\r\n{word}\n{conditions}")), "{health}");
    }
    for path in ["/nothing", "/model//api", "/model/a/b/api", "/model/x/log", "/api/"] {
        let absent = http(&mut world, &format!("GET {path} {tail}")).await;
        assert!(absent.starts_with("HTTP/1.1 404 "), "{path}: {absent}");
    }
    for path in ["/", "/api", "/model/x/api"] {
        let bad = http(&mut world, &format!("GET {path} {tail}")).await;
        assert!(bad.starts_with("HTTP/1.1 400 "), "{path}: {bad}");
    }
    let garbage = http(&mut world, "this is not HTTP\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    let long = format!("GET /{} {tail}", "x".repeat(64 * 1024));
    assert!(http(&mut world, &long).await.starts_with("HTTP/1.1 4"));
}

#[tokio::test]
async fn an_agent_of_another_authority_does_not_connect() {
    let mut world = World::new();
    let (stream, _) = world.pipe();
    let other = Authority::make(KeyKind::Ed25519, Validity::century()).expect("an authority");
    let client = tls::agent_client(&[other.certificate().clone()]).expect("a configuration");
    let soon = world.host.soon();
    let client = Arc::clone(&client);
    let opened =
        wire::open(&world.host, stream, &client, "localhost", &Place::Controller, soon).await;
    assert!(matches!(opened, Err(NotOpened::Tls(_))), "{opened:?}");
}

#[tokio::test]
async fn metrics_are_for_those_who_may_see_them() {
    let mut world = World::new();
    let tail = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let basic = |who: &str| data_encoding::BASE64.encode(who.as_bytes());
    let asked = [
        ("200", format!("Authorization: Basic {}\r\n", basic("user-admin:secret"))),
        ("200", format!("authorization: basic {}\r\n", basic("user-admin:secret"))),
        ("401", String::new()),
        ("401", format!("Authorization: Basic {}\r\n", basic("user-admin:wrong"))),
        ("401", format!("Authorization: Basic {}\r\n", basic("nobody"))),
        ("401", format!("Authorization: Bearer {}\r\n", basic("user-admin:secret"))),
        ("401", "Authorization: Basic ?\r\n".to_owned()),
        ("401", format!("Authorization: Basic {}\r\n", "x".repeat(4_096))),
    ];
    for (status, header) in asked {
        let request = format!("GET /introspection/metrics {tail}{header}\r\n");
        let answer = http(&mut world, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{header}: {answer}");
        let challenged = answer.contains("www-authenticate: Basic realm=\"juju\"\r\n");
        assert_eq!(challenged, status == "401", "{answer}");
        let shown = answer.contains("\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n");
        assert_eq!(shown && answer.contains("\n# TYPE "), status == "200", "{answer}");
    }
    let posted = http(&mut world, &format!("POST /introspection/metrics {tail}\r\n")).await;
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
}
