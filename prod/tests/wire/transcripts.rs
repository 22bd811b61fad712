//! What existing clients were seen to send, and must be answered.

use std::time::Duration;

use portcullis::api::Place;
use portcullis::client::wire::{Failure, NotIn, Pass};
use portcullis::rpc::Error;
use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Key, Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{GlobalTime, NodeId};
use serde_json::{Value, json};

use crate::world::{MODEL, World};

fn model() -> Place {
    Place::Model(MODEL.into())
}

fn key(lease: &str) -> Key {
    Key::new("application-leadership", MODEL, lease)
}

fn code(result: Result<Value, Failure>) -> (String, String) {
    match result {
        Err(Failure::Answered(Error { message, code, .. })) => (message, code),
        other => panic!("no error: {other:?}"),
    }
}

#[tokio::test]
async fn nobody_learns_whether_the_name_or_the_password_is_wrong() {
    let mut world = World::new();
    let line = world.line(&Place::Controller).await;
    let soon = world.host.soon();
    for (tag, password) in [("user-admin", "nope"), ("user-nobody", "secret"), ("", "")] {
        let pass = Pass { tag: tag.into(), password: password.into() };
        let error = Error::new("invalid entity name or password", "unauthorized access");
        assert_eq!(line.login(&pass, soon).await, Err(NotIn::Refused(error)));
    }
    let redirected = code(line.call("Admin", 3, "RedirectInfo", json!({}), Some(soon)).await);
    assert_eq!(redirected.0, "not redirected");
    let old = code(line.call("Admin", 2, "Login", json!({}), Some(soon)).await);
    assert_eq!(old.1, "not supported");
    let early = code(line.call("Pinger", 1, "Ping", json!({}), Some(soon)).await);
    assert_eq!(early.0, r#"unknown version (1) of interface "Pinger""#);
    let unknown = world.line(&Place::Model("no-such-model".into())).await;
    let login = unknown.call("Admin", 3, "Login", json!({ "auth-tag": null }), Some(soon)).await;
    assert_eq!(code(login).1, "model not found");
}

#[tokio::test]
async fn a_redirected_client_is_told_where_to_go() {
    let mut world = World::new();
    let line = world.line(&Place::Controller).await;
    let pass = Pass { tag: "user-mover".into(), password: "secret".into() };
    match line.login(&pass, world.host.soon()).await {
        Err(NotIn::Redirected { servers, authority }) => {
            assert_eq!((servers.len(), authority.as_str()), (1, "<PEM>"));
        }
        other => panic!("not redirected: {other:?}"),
    }
}

#[tokio::test]
async fn leadership_is_claimed_denied_and_waited_for() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let (first, second) = (world.unit(0).await, world.unit(1).await);
    let claim = |unit: &str, duration: f64| {
        let application = "application-mysql";
        json!({ "params": [
            { "application-tag": application, "unit-tag": unit, "duration": duration }
        ] })
    };
    let facade = "LeadershipService";
    let claimed = first.call(facade, 2, "ClaimLeadership", claim("unit-mysql-0", 5.0), soon).await;
    assert_eq!(claimed, Ok(json!({ "results": [{}] })));
    let denied = second.call(facade, 2, "ClaimLeadership", claim("unit-mysql-1", 5.0), soon).await;
    let error = json!({ "message": "leadership claim denied", "code": "leadership claim denied" });
    assert_eq!(denied, Ok(json!({ "results": [{ "error": error }] })));

    let wait = async {
        let name = json!({ "Name": "mysql" });
        second.call(facade, 2, "BlockUntilLeadershipReleased", name, None).await
    };
    let revoke = async {
        // The wait is behind nothing, and nothing is behind it: a ping is answered meanwhile.
        second.ping(world.host.soon()).await.expect("a pong");
        let operation = Operation::Revoke { key: key("mysql"), holder: "mysql/0".into() };
        first.ask(&Request::Apply(operation), Duration::from_secs(1), world.host.soon()).await
    };
    let (released, revoked) = tokio::join!(wait, revoke);
    assert_eq!(released, Ok(json!({})));
    assert_eq!(revoked, Ok(Answer::Done { index: 3, done: Done::Revoked }));
}

#[tokio::test]
async fn a_unit_claims_for_itself_alone_and_within_the_window() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let unit = world.unit(0).await;
    let claim = |application: &str, unit: &str, duration: Value| {
        let tag = "application-tag";
        json!({ tag: application, "unit-tag": unit, "duration": duration })
    };
    let claims = json!({ "params": [
        claim("application-mysql", "unit-mysql-1", json!(60)),
        claim("application-wordpress", "unit-mysql-0", json!(60)),
        claim("application-mysql", "unit-mysql-0", json!(4.9)),
        claim("application-mysql", "unit-mysql-0", json!(301)),
        claim("mysql", "unit-mysql-0", json!(60)),
        claim("application-mysql", "mysql/0", json!(60)),
        claim("application-mysql", "unit-mysql-0", json!(300)),
    ] });
    let answer = unit.call("LeadershipService", 2, "ClaimLeadership", claims, soon).await;
    let denied = json!({ "message": "permission denied", "code": "unauthorized access" });
    let error = |message: &str| json!({ "error": { "message": message, "code": "" } });
    assert_eq!(
        answer,
        Ok(json!({ "results": [
            { "error": denied }, { "error": denied },
            error("invalid duration"), error("invalid duration"),
            error(r#""mysql" is not a valid tag"#),
            error(r#""mysql/0" is not a valid tag"#),
            {},
        ] }))
    );
    let operation = Operation::Claim {
        key: key("wordpress"),
        holder: "mysql/0".into(),
        duration: Duration::from_secs(60),
    };
    let asked = unit.ask(&Request::Apply(operation), Duration::ZERO, world.host.soon()).await;
    assert_eq!(asked.map_err(|error| error.code), Err("unauthorized access".into()));
}

#[tokio::test]
async fn every_answer_has_its_code() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let unit = world.unit(0).await;
    let retry_after = Duration::from_millis(1_500);
    let refused = |refusal| Answer::Refused { index: 9, refusal };
    let held = Refusal::Held { holder: "mysql/1".into(), expiry: GlobalTime(1) };
    let answers = [
        (refused(held), "leadership claim denied", json!(null)),
        (refused(Refusal::Full), "quota limit exceeded", json!(null)),
        (Answer::Overloaded { retry_after }, "try again", json!({ "retry-after": 1.5 })),
        (Answer::NotLeader { leader: None }, "not leader", json!(null)),
        (Answer::NotLeader { leader: Some(NodeId(2)) }, "not leader", json!({ "server-id": "2" })),
        (Answer::Expired, "deadline exceeded", json!(null)),
        (Answer::Cancelled, "deadline exceeded", json!(null)),
        (Answer::Unknown, "lease error", json!(null)),
    ];
    for (answer, code, info) in answers {
        *world.controller.instead.lock().expect("no panic") = Some(answer.clone());
        let tags = json!({
            "application-tag": "application-mysql", "unit-tag": "unit-mysql-0", "duration": 60.0,
        });
        let params = json!({ "params": [tags] });
        let told = unit.call("LeadershipService", 2, "ClaimLeadership", params, soon).await;
        let error = told.expect("a bulk answer")["results"][0]["error"].take();
        assert_eq!((&error["code"], &error["info"]), (&json!(code), &info), "{answer}");
        let wish = Request::Wait(key("mysql"));
        let exact = unit.ask(&wish, retry_after, world.host.soon()).await;
        assert_eq!(exact, Ok(answer), "our own facade says exactly what was answered");
    }
}

#[tokio::test]
async fn leases_are_listed_a_page_at_a_time() {
    let mut world = World::new();
    let soon = world.host.soon();
    let admin = world.admin(&model()).await;
    for number in 0..201 {
        let operation = Operation::Claim {
            key: key(&format!("app-{number:03}")),
            holder: "app/0".into(),
            duration: Duration::from_micros(12_345_678),
        };
        let answer = admin.ask(&Request::Apply(operation), Duration::ZERO, soon).await;
        let expiry = GlobalTime((number + 1) * 1_000 + 12_345_678);
        let done = Done::Granted { fence: number + 1, expiry };
        assert_eq!(answer, Ok(Answer::Done { index: number + 1, done }));
    }
    let first = admin.leases(None, Some(MODEL), None, soon).await.expect("a page");
    assert_eq!((first.leases.len(), first.more), (200, true));
    let last = first.leases.last().expect("a lease");
    let rest = admin.leases(None, None, Some(&last.named), soon).await.expect("a page");
    assert_eq!((rest.leases.len(), rest.more), (1, false));
    assert_eq!(rest.leases[0].named.lease, "app-200");
    assert_eq!(admin.status(soon).await.expect("figures").leader, Some(1));
}

#[tokio::test]
async fn changes_are_watched_from_where_one_stopped() {
    let mut world = World::new();
    let soon = world.host.soon();
    let (admin, unit) = (world.admin(&model()).await, world.unit(0).await);
    let watch = |from: Value| {
        let params = json!({ "from": from, "model": MODEL, "namespace": null });
        unit.call("Portcullis", 1, "Watch", params, Some(soon))
    };
    let begun = watch(json!(null)).await.expect("a beginning");
    assert_eq!((&begun["leases"], &begun["forgotten"]), (&json!([]), &json!(false)));
    let operation = |lease: &str| Operation::Claim {
        key: key(lease),
        holder: "app/0".into(),
        duration: Duration::from_secs(60),
    };
    let claim = async {
        for lease in ["one", "two"] {
            let wish = Request::Apply(operation(lease));
            admin.ask(&wish, Duration::ZERO, soon).await.expect("an answer");
        }
    };
    let (first, ()) = tokio::join!(watch(begun["next"].clone()), claim);
    let first = first.expect("a change");
    assert_eq!(first["leases"][0]["lease"], "one");
    let two = watch(json!({ "index": 2 })).await.expect("a change");
    assert_eq!((&two["leases"][0]["holder"], &two["next"]["index"]), (&json!("app/0"), &json!(3)));
    let revoke = Operation::Revoke { key: key("one"), holder: "app/0".into() };
    let wish = Request::Apply(revoke);
    admin.ask(&wish, Duration::ZERO, soon).await.expect("an answer");
    let freed = watch(two["next"].clone()).await.expect("a change");
    let name = json!({ "namespace": "application-leadership", "model": MODEL, "lease": "one" });
    assert_eq!(freed["leases"], json!([name]), "whoever is free has no holder");
    let forgotten = watch(json!({ "index": 0 })).await.expect("a confession");
    assert_eq!((&forgotten["forgotten"], &forgotten["leases"]), (&json!(true), &json!([])));
    let other = json!({ "model": "another" });
    let denied = unit.call("Portcullis", 1, "Watch", other, Some(soon)).await;
    assert_eq!(code(denied).1, "unauthorized access");
}
