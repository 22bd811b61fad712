//! What makes no sense or is not allowed, sent to a whole controller: each is answered in Juju's
//! words, or closes its own connection, and nobody else notices.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis::client::wire::{Failure, Line};
use portcullis::tls;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::world::{Cluster, MODEL, Raw};

const PERMISSION: &str = "permission denied";
const UNAUTHORIZED: &str = "unauthorized access";
const BAD: &str = "bad request";
const NOT_IMPLEMENTED: &str = "not implemented";

/// What a whole call is refused with, if it is: the text, or how it begins, and the code.
async fn refused(line: &Line, call: (&str, u64, &str), params: Value, wanted: (&str, &str)) {
    let (facade, version, method) = call;
    match line.call(facade, version, method, params.clone(), None).await {
        Err(Failure::Answered(error)) => {
            assert!(error.message.starts_with(wanted.0), "{call:?} {params}: {}", error.message);
            assert_eq!(error.code, wanted.1, "{call:?} {params}");
        }
        other => panic!("{call:?} {params}: {other:?}"),
    }
}

/// What the one item of a bulk call is answered with: the text and the code of its error, both empty
/// if it has none.
async fn item(line: &Line, call: (&str, u64, &str), params: Value) -> (String, String) {
    let (facade, version, method) = call;
    let told = line.call(facade, version, method, params.clone(), None).await;
    let told = told.unwrap_or_else(|error| panic!("{call:?} {params}: {error}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = &told["results"][0]["error"];
    (text(&error["message"]), text(&error["code"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_mean_nothing_are_answered_in_jujus_words() {
    let cluster = Cluster::start(1, |_| ()).await;
    let unit = cluster.line(1, "unit-mysql-0").await;
    let machine = cluster.line(1, "machine-1").await;
    let admin = cluster.line(1, "user-admin").await;

    let leadership = ("LeadershipService", 2, "ClaimLeadership");
    let claim = |application: &str, unit: &str, duration: Value| {
        json!({ "params": [
            { "application-tag": application, "unit-tag": unit, "duration": duration },
        ] })
    };
    let long = format!("application-{}", "x".repeat(300));
    let own = ("application-mysql", "unit-mysql-0");
    let duration = ("invalid duration", "");
    for (application, unit_tag, seconds, (message, code)) in [
        (own.0, own.1, json!(4.999), duration),
        (own.0, own.1, json!(300.001), duration),
        (own.0, own.1, json!(0), duration),
        (own.0, own.1, json!(null), duration),
        (own.0, own.1, json!(-60), duration),
        (own.0, own.1, json!(1e300), duration),
        // The duration is looked at first, as in Juju.
        ("application-other", own.1, json!(1), duration),
        ("application-other", own.1, json!(60), (PERMISSION, UNAUTHORIZED)),
        (own.0, "unit-mysql-1", json!(60), (PERMISSION, UNAUTHORIZED)),
        (&long, own.1, json!(60), (PERMISSION, UNAUTHORIZED)),
        ("mysql", own.1, json!(60), (r#""mysql" is not a valid tag"#, "")),
        ("", own.1, json!(60), (r#""" is not a valid tag"#, "")),
        ("fruit-mysql", own.1, json!(60), (r#""fruit-mysql" is not a valid tag"#, "")),
        (own.1, own.1, json!(60), (r#""unit-mysql-0" is not a valid application tag"#, "")),
        (own.0, own.0, json!(60), (r#""application-mysql" is not a valid unit tag"#, "")),
        (own.0, "unit-mysql", json!(60), (r#""unit-mysql" is not a valid unit tag"#, "")),
        (own.0, own.1, json!(5), ("", "")),
        (own.0, own.1, json!(300.0), ("", "")),
    ] {
        let told = item(&unit, leadership, claim(application, unit_tag, seconds.clone())).await;
        assert_eq!(told, (message.into(), code.into()), "{application} {unit_tag} {seconds}");
    }
    for name in ["my.sql", "my$sql", "my#sql", "my sql", "my\tsql", "MySQL", "my-1", "1sql", "-"] {
        let tag = format!("application-{name}");
        let wanted = format!("{tag:?} is not a valid application tag");
        let told = item(&unit, leadership, claim(&tag, own.1, json!(60))).await;
        assert_eq!(told, (wanted, String::new()));
    }
    let block = json!({ "Name": "other" });
    let blocked = ("LeadershipService", 2, "BlockUntilLeadershipReleased");
    let told = unit.call(blocked.0, 2, blocked.2, block, None).await.expect("a response");
    assert_eq!(told, json!({ "error": { "message": PERMISSION, "code": UNAUTHORIZED } }));

    let singular = ("Singular", 2, "Claim");
    let model = format!("model-{MODEL}");
    let claims = |entity: &str, claimant: &str, nanoseconds: Value| {
        json!({ "claims": [
            { "entity-tag": entity, "claimant-tag": claimant, "duration": nanoseconds },
        ] })
    };
    for (entity, claimant, nanoseconds) in [
        (&*model, "machine-1", json!(999_999_999)),
        (&*model, "machine-1", json!(60_000_000_001_i64)),
        (&*model, "machine-1", json!(-1_000_000_000)),
        (&*model, "machine-1", json!(i64::MIN)),
        (&*model, "machine-1", json!(i64::MAX)),
        (&*model, "machine-1", json!(null)),
        (&*model, "machine-2", json!(1_000_000_000)),
        ("model-another", "machine-1", json!(1_000_000_000)),
        ("unit-mysql-0", "machine-1", json!(1_000_000_000)),
        ("", "machine-1", json!(1_000_000_000)),
    ] {
        let told = item(&machine, singular, claims(entity, claimant, nanoseconds.clone())).await;
        let wanted = (PERMISSION.into(), UNAUTHORIZED.into());
        assert_eq!(told, wanted, "{entity} {claimant} {nanoseconds}");
    }

    let ours = ("Portcullis", 1, "Claim");
    let many: Vec<Value> = vec![json!({}); 65];
    let unknown = |facade: &str| format!("unknown version (1) of interface {facade:?}");
    let missing = "no such request - method Pinger(1).Nope is not implemented";
    for (line, call, params, wanted) in [
        (&unit, leadership, json!({ "params": many }), ("65 items, over the 64 allowed", BAD)),
        (&machine, singular, json!({ "claims": many }), ("65 items, over the 64 allowed", BAD)),
        (&unit, leadership, json!([]), ("params is not an object", BAD)),
        (&unit, leadership, json!(7), ("params is not an object", BAD)),
        (&unit, leadership, json!({ "params": 7 }), ("invalid type: integer", BAD)),
        (&unit, leadership, claim("a", "b", json!("60")), ("invalid type: string", BAD)),
        (&unit, leadership, claim("a", "b", json!([60])), ("invalid type: sequence", BAD)),
        (&unit, blocked, json!({ "Name": 7 }), ("invalid type: integer", BAD)),
        (&machine, singular, claims("a", "b", json!(1e30)), ("invalid type: floating", BAD)),
        (&machine, singular, claims("a", "b", json!(0.5)), ("invalid type: floating", BAD)),
        (&unit, ("NoSuch", 1, "Ping"), json!({}), (&unknown("NoSuch"), NOT_IMPLEMENTED)),
        (
            &unit,
            ("NoSuch", 0, "Ping"),
            json!({}),
            ("unknown object type \"NoSuch\"", NOT_IMPLEMENTED),
        ),
        (&unit, ("pinger", 1, "Ping"), json!({}), (&unknown("pinger"), NOT_IMPLEMENTED)),
        (&unit, ("Pinger", 9, "Ping"), json!({}), ("unknown version (9)", NOT_IMPLEMENTED)),
        (&unit, ("Pinger", 1, "Nope"), json!({}), (missing, NOT_IMPLEMENTED)),
        (&unit, ("Controller", 11, "X"), json!({}), ("unknown version (11)", NOT_IMPLEMENTED)),
        (&unit, ("Admin", 3, "Login"), json!({}), ("unknown version (3)", NOT_IMPLEMENTED)),
        (&unit, ("RaftLease", 2, "ApplyLease"), json!({}), (PERMISSION, UNAUTHORIZED)),
        (&unit, ("UpgradeSeries", 3, "PinnedLeadership"), json!({}), (PERMISSION, UNAUTHORIZED)),
        (&unit, ours, json!({ "lease": "other", "duration": 60 }), (PERMISSION, UNAUTHORIZED)),
        (&admin, ours, json!({ "lease": "x".repeat(257) }), ("lease must be", "not valid")),
        (&admin, ours, json!({ "lease": "my sql" }), ("lease must be", "not valid")),
        (&admin, ours, json!({ "lease": "my\tsql" }), ("lease must be", "not valid")),
        (&admin, ours, json!({ "lease": "x", "duration": -1 }), ("duration must be", "not valid")),
        (
            &admin,
            ours,
            json!({ "lease": "x", "duration": 1e300 }),
            ("duration must be", "not valid"),
        ),
    ] {
        refused(line, call, params, wanted).await;
    }
    // Nothing given at all is nothing to do.
    for (line, (facade, version, method)) in [(&unit, leadership), (&machine, singular)] {
        let told = line.call(facade, version, method, Value::Null, None).await;
        assert_eq!(told, Ok(json!({ "results": [] })));
    }
    let soon = cluster.host.soon();
    let list = admin.leases(None, None, None, soon).await.expect("a list");
    let held: Vec<&str> = list.leases.iter().map(|one| one.named.lease.as_str()).collect();
    assert_eq!(held, ["mysql"], "what was refused was not done");
    for line in [&unit, &machine, &admin] {
        line.ping(soon).await.expect("the connection goes on");
    }
    cluster.stop().await;
}

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

fn part(text: &str, first: bool, last: bool) -> Message {
    let data = if first { Data::Text } else { Data::Continue };
    Message::Frame(Frame::message(text.as_bytes().to_vec(), OpCode::Data(data), last))
}

/// Somebody in the name of a unit, on a websocket of its own.
async fn unit(cluster: &Cluster) -> Raw {
    let mut raw = cluster.raw(1, &format!("/model/{MODEL}/api")).await;
    let login = json!({
        "request-id": 1, "type": "Admin", "version": 3, "request": "Login",
        "params": { "auth-tag": "unit-mysql-1", "credentials": "secret" },
    });
    raw.send(Message::text(login.to_string())).await.expect("sent");
    assert_eq!(said(&mut raw).await.get("error"), None);
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_every_form_are_answered() {
    let cluster = Cluster::start(1, |_| ()).await;
    let mut raw = unit(&cluster).await;
    let ping = r#"{"request-id":7,"type":"Pinger","version":1,"request":"Ping"}"#;
    let ponged = json!({ "request-id": 7, "response": {} });
    let huge = r#"{"request-id":9,"type":"LeadershipService","version":2,
        "request":"ClaimLeadership","params":{"params":[{"duration":1e400}]}}"#;
    let typed = r#"{"request-id":9,"type":"Pinger","version":"1","request":"Ping"}"#;
    let wrong = |id: u64, what: &str| json!({ "request-id": id, "error": what, "error-code": BAD, "response": {} });
    for (what, sent, wanted) in [
        ("a usual one", vec![Message::text(ping)], vec![ponged.clone()]),
        ("binary", vec![Message::binary(ping)], vec![ponged.clone()]),
        (
            "in fragments",
            vec![part(&ping[..9], true, false), part(&ping[9..], false, true)],
            vec![ponged.clone()],
        ),
        (
            "the same number twice",
            vec![Message::text(ping), Message::text(ping)],
            vec![ponged.clone(), ponged.clone()],
        ),
        (
            "Juju's first protocol",
            vec![Message::text(r#"{"RequestId":7,"Type":"Pinger","Version":1,"Request":"Ping"}"#)],
            vec![json!({ "RequestId": 7, "Response": {} })],
        ),
        (
            "the number zero",
            vec![Message::text(r#"{"request-id":0,"type":"X","version":1,"request":"Ping"}"#)],
            vec![json!({
                "RequestId": 0, "Error": "unknown version (1) of interface \"X\"",
                "ErrorCode": NOT_IMPLEMENTED, "Response": {},
            })],
        ),
        (
            "a number beyond all floats",
            vec![Message::text(huge)],
            vec![wrong(9, "not JSON: number out of range at line 2 column 73")],
        ),
        ("a wrong type", vec![Message::text(typed)], vec![wrong(9, "version is not a number")]),
    ] {
        for message in sent {
            raw.send(message).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        for wanted in wanted {
            assert_eq!(said(&mut raw).await, wanted, "{what}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_closes_its_own_connection_only() {
    let most = 8 * 1024;
    let cluster = Cluster::start(1, |config| config.api.socket.message_max = most).await;
    let mut other = unit(&cluster).await;
    let admin = cluster.line(1, "user-admin").await;
    let (long, half) = ("x".repeat(most + 1), "x".repeat(most / 2 + 1));
    let too_long = "a message of 8193 bytes is over the 8192";
    let foul = [
        (vec![Message::text("{")], CloseCode::Invalid, "not JSON: "),
        (vec![Message::text("")], CloseCode::Invalid, "not JSON: "),
        (vec![Message::text("null")], CloseCode::Invalid, "not a JSON object"),
        (vec![Message::text("{}")], CloseCode::Invalid, "neither type nor request"),
        (vec![Message::text(r#"{"request-id":-1,"type":"X"}"#)], CloseCode::Invalid, "request-id"),
        (vec![Message::binary(vec![0xff])], CloseCode::Invalid, "bytes that are not UTF-8"),
        (vec![Message::text(long.clone())], CloseCode::Size, too_long),
        (vec![Message::binary(long)], CloseCode::Size, too_long),
        (
            vec![part(&half, true, false), part(&half, false, true)],
            CloseCode::Size,
            "a message of 8194 bytes is over the 8192",
        ),
        (vec![part(&half, false, true)], CloseCode::Protocol, ""),
    ];
    for (messages, code, reason) in foul {
        let mut raw = unit(&cluster).await;
        for message in messages {
            raw.send(message).await.expect("sent");
        }
        let (told, why) = closed(&mut raw).await;
        assert_eq!(told, code, "{why}");
        assert!(why.starts_with(reason), "{why}");
    }
    let ping = r#"{"request-id":7,"type":"Pinger","version":1,"request":"Ping"}"#;
    other.send(Message::text(ping)).await.expect("sent");
    assert_eq!(said(&mut other).await, json!({ "request-id": 7, "response": {} }));
    admin.ping(cluster.host.soon()).await.expect("others are not harmed");
    cluster.stop().await;
}

/// Reads until the other side ends it.
async fn ended(mut stream: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    // However it ends, with a goodbye or without.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_half_way_in_is_shown_out() {
    let cluster = Cluster::start(1, |config| {
        config.controller.sessions.login_within = Duration::from_secs(2);
        config.controller.listener.logins_max = 8;
    })
    .await;
    let admin = cluster.line(1, "user-admin").await;
    let tls = async || tls::dial_api(&cluster.client, cluster.tcp(1).await).await.expect("TLS");
    let silent = cluster.tcp(1).await;
    let mut no_tls = cluster.tcp(1).await;
    no_tls.write_all(b"GET /api HTTP/1.1\r\n\r\n").await.expect("written");
    let mut half_hello = cluster.tcp(1).await;
    half_hello.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await.expect("written");
    let quiet = tls().await;
    let mut half_upgrade = tls().await;
    half_upgrade.write_all(b"GET /api HTTP/1.1\r\nUpgrade: webs").await.expect("written");
    half_upgrade.flush().await.expect("written");
    let mut half_frame = cluster.raw(1, "/api").await.into_inner();
    half_frame.write_all(&[0x81]).await.expect("written");
    half_frame.flush().await.expect("written");
    let mut nameless = cluster.raw(1, "/api").await;
    let all = async {
        tokio::join!(
            ended(silent),
            ended(no_tls),
            ended(half_hello),
            ended(quiet),
            ended(half_upgrade),
            ended(half_frame),
        );
        let (code, why) = closed(&mut nameless).await;
        assert_eq!((code, &*why), (CloseCode::Away, "not logged in in time"));
    };
    let served = async {
        loop {
            admin.ping(cluster.host.soon()).await.expect("others are served meanwhile");
        }
    };
    tokio::select! {
        () = all => {}
        () = served => {}
    }
    let status = admin.status(cluster.host.soon()).await.expect("figures");
    // The controller's own connection to itself is the other one.
    assert!(status.connections <= 3, "{} are left", status.connections);
    drop(cluster.line(1, "unit-mysql-0").await);
    cluster.stop().await;
}
