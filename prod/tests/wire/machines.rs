//! What the machines of controllers ask for, and what others must not.

use portcullis::api::Place;
use portcullis::client::wire::Pass;
use portcullis_core::NodeId;
use portcullis_core::addresses::{HostPort, Scope};
use portcullis_core::lease::Refusal;
use portcullis_core::queue::Answer;
use serde_json::{Value, json};

use crate::world::{MODEL, World};

const DENIED: &str = "unauthorized access";

/// What each item of a bulk answer says: its code, or nothing if it went well.
fn codes(answer: Value) -> Vec<String> {
    let code = |item: &Value| item["error"]["code"].as_str().unwrap_or_default().to_owned();
    answer["results"].as_array().expect("a list").iter().map(code).collect()
}

fn command(operation: &str, lease: &str, holder: &str, nanoseconds: i64) -> Value {
    json!({
        "version": 1, "operation": operation, "namespace": "application-leadership",
        "model-uuid": MODEL, "lease": lease, "holder": holder, "duration": nanoseconds,
        "old-time": "0001-01-01T00:00:00Z", "new-time": "0001-01-01T00:00:00Z",
    })
}

#[tokio::test]
async fn one_machine_is_responsible_at_a_time() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let (first, second) = (world.machine(0).await, world.machine(1).await);
    let claim = |entity: &str, claimant: &str, duration: Value| json!({ "entity-tag": entity, "claimant-tag": claimant, "duration": duration });
    let model = format!("model-{MODEL}");
    let cluster = "controller-11111111-2222-4333-8444-555555555555";
    let claims = json!({ "claims": [
        claim(&model, "machine-0", json!(60_000_000_000_i64)),
        claim(cluster, "machine-0", json!(1_000_000_000)),
        claim("model-another", "machine-0", json!(60_000_000_000_i64)),
        claim("mysql", "machine-0", json!(60_000_000_000_i64)),
        claim(&model, "machine-1", json!(60_000_000_000_i64)),
        claim(&model, "machine-0", json!(60_000_000_001_i64)),
        claim(&model, "machine-0", json!(999_999_999)),
        claim(&model, "machine-0", json!(-1)),
        claim(&model, "machine-0", json!(null)),
    ] });
    let claimed = first.call("Singular", 2, "Claim", claims, soon).await.expect("results");
    let mut wanted = vec!["", ""];
    wanted.resize(9, DENIED);
    assert_eq!(codes(claimed), wanted);
    let late = json!({ "claims": [claim(&model, "machine-1", json!(1_000_000_000))] });
    let denied = second.call("Singular", 2, "Claim", late.clone(), soon).await;
    let error = json!({ "message": "lease claim denied", "code": "lease claim denied" });
    assert_eq!(denied, Ok(json!({ "results": [{ "error": error }] })));

    let entities = json!({ "entities": [{ "tag": model }, { "tag": "model-another" }] });
    let waited = second.call("Singular", 2, "Wait", entities, None);
    let revoked = async {
        let commands = json!({ "commands": [{
            "version": 1, "operation": "revoke", "namespace": "singular-controller",
            "model-uuid": MODEL, "lease": MODEL, "holder": "machine-0",
        }] });
        first.call("RaftLease", 2, "ApplyLease", commands, soon).await
    };
    let (waited, revoked) = tokio::join!(waited, revoked);
    assert_eq!(codes(waited.expect("results")), ["", DENIED]);
    assert_eq!(revoked, Ok(json!({ "results": [{}] })));
    assert_eq!(
        second.call("Singular", 2, "Claim", late, soon).await,
        Ok(json!({ "results": [{}] }))
    );
}

#[tokio::test]
async fn commands_are_done_in_order_and_each_is_answered() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let machine = world.machine(0).await;
    let minute = 60_000_000_000;
    let pin = |operation: &str, entity: &str| {
        let mut pin = command(operation, "mysql", "", 0);
        pin["pin-entity"] = json!(entity);
        pin
    };
    let mut future = command("claim", "mysql", "mysql/0", minute);
    future["version"] = json!(2);
    let commands = json!({ "commands": [
        command("claim", "mysql", "mysql/0", minute),
        command("claim", "mysql", "mysql/1", minute),
        command("extend", "mysql", "mysql/1", minute),
        command("extend", "mysql", "mysql/0", minute),
        pin("pin", "machine-0"),
        pin("unpin", "machine-0"),
        command("revoke", "mysql", "mysql/1", 0),
        command("revoke", "mysql", "mysql/0", 0),
        future,
        command("setTime", "mysql", "mysql/0", 0),
        command("claim", "my sql", "mysql/0", minute),
        command("claim", "mysql", "", minute),
        command("claim", "mysql", "mysql/0", 0),
        command("claim", "mysql", "mysql/0", i64::MAX),
        command("claim", &"x".repeat(257), "mysql/0", minute),
        pin("pin", ""),
    ] });
    let applied = machine.call("RaftLease", 2, "ApplyLease", commands, soon).await;
    let applied = applied.expect("results");
    assert_eq!(applied["results"][1]["error"]["info"], json!({ "type": "lease-held" }));
    assert_eq!(applied["results"][2]["error"]["info"], json!({ "type": "lease-invalid" }));
    let lease = "lease error";
    let mut wanted = vec!["", lease, lease, "", "", "", lease, ""];
    wanted.resize(16, "not valid");
    assert_eq!(codes(applied), wanted);

    let yaml = |text: &str| json!({ "command": text });
    let claim = format!(
        "version: 1\noperation: claim\nnamespace: application-leadership\nmodel-uuid: {MODEL}\n\
         lease: \"7\"\nholder: mysql/0\nduration: 1m0s\n"
    );
    let commands = json!({ "commands": [
        yaml(&claim), yaml(""), yaml("["), yaml("version: {a: b}"), json!({ "command": null }),
    ] });
    let applied = machine.call("RaftLease", 1, "ApplyLease", commands, soon).await;
    let bad = "not valid";
    assert_eq!(codes(applied.expect("results")), ["", bad, bad, bad, bad]);
}

#[tokio::test]
async fn without_a_leader_the_rest_is_not_tried() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let machine = world.machine(0).await;
    let instead = |answer| *world.controller.instead.lock().expect("no panic") = Some(answer);
    let commands = json!({ "commands": [
        command("claim", "mysql", "mysql/0", 1), command("claim", "mysql", "mysql/0", 1),
    ] });
    let refused = |refusal| Answer::Refused { index: 9, refusal };
    let answers = [
        (Answer::NotLeader { leader: Some(NodeId(2)) }, "not leader", json!({ "server-id": "2" })),
        (Answer::Unknown, "lease error", json!({ "type": "lease-timeout" })),
        (Answer::Expired, "deadline exceeded", Value::Null),
        (refused(Refusal::Void), "deadline exceeded", Value::Null),
        (refused(Refusal::Full), "quota limit exceeded", Value::Null),
    ];
    for (answer, code, info) in answers {
        instead(answer);
        let told = machine.call("RaftLease", 2, "ApplyLease", commands.clone(), soon).await;
        let told = told.expect("results");
        for item in told["results"].as_array().expect("a list") {
            assert_eq!((&item["error"]["code"], &item["error"]["info"]), (&json!(code), &info));
        }
    }
}

#[tokio::test]
async fn others_may_not() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let model = Place::Model(MODEL.into());
    let unit = world.unit(0).await;
    let machine = world.machine(9).await;
    let admin = world.admin(&model).await;
    let tag = format!("model-{MODEL}");
    let claims = json!({ "claims": [
        { "entity-tag": tag, "claimant-tag": "machine-9", "duration": 60_000_000_000_i64 },
    ] });
    let claimed = machine.call("Singular", 2, "Claim", claims, soon).await.expect("results");
    assert_eq!(codes(claimed), [DENIED], "the machine of no controller");
    let key = json!({
        "namespace": "singular-controller", "lease": MODEL, "duration": 60, "holder": "machine-9",
    });
    for (line, facade, version, method, params) in [
        (&machine, "Portcullis", 1, "Claim", key),
        (&machine, "RaftLease", 2, "ApplyLease", json!({})),
        (&admin, "RaftLease", 2, "ApplyLease", json!({})),
        (&admin, "Machiner", 5, "APIHostPorts", json!({})),
        (&unit, "Machiner", 5, "APIHostPorts", json!({})),
        (&machine, "Uniter", 18, "APIHostPorts", json!({})),
        (&unit, "Client", 8, "WatchAll", json!({})),
        (&unit, "ModelConfig", 3, "ModelGet", json!({})),
        (&unit, "HighAvailability", 2, "EnableHA", json!({ "specs": [] })),
        (&unit, "Cluster", 1, "Members", json!({})),
        (&machine, "Cluster", 1, "Remove", json!({ "node": 1 })),
    ] {
        let told = line.call(facade, version, method, params, soon).await;
        match told {
            Err(portcullis::client::wire::Failure::Answered(error)) => {
                assert_eq!(error.code, DENIED, "{facade}.{method}");
            }
            other => panic!("{facade}.{method}: {other:?}"),
        }
    }
    let own = unit.call("Uniter", 18, "APIAddresses", json!({}), soon).await;
    let addresses = ["127.0.0.1:27070", "127.0.0.1:27071", "127.0.0.1:27072"];
    assert_eq!(own, Ok(json!({ "result": addresses })));
    unit.ping(world.host.soon()).await.expect("nothing has come of it");
}

#[tokio::test]
async fn a_machine_pins_what_runs_on_it() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let machine = world.machine(0).await;
    let call = |method: &'static str| machine.call("UpgradeSeries", 3, method, json!({}), soon);
    let both = json!({ "results": [
        { "application-name": "mysql" }, { "application-name": "wordpress" },
    ] });
    assert_eq!(call("PinnedLeadership").await, Ok(json!({})));
    assert_eq!(call("PinMachineApplications").await, Ok(both.clone()));
    let pinned = json!({ "result": { "mysql": ["machine-0"], "wordpress": ["machine-0"] } });
    assert_eq!(call("PinnedLeadership").await, Ok(pinned));

    let instead = |answer| *world.controller.instead.lock().expect("no panic") = answer;
    instead(Some(Answer::Refused { index: 9, refusal: Refusal::Full }));
    let full = call("PinMachineApplications").await.expect("results");
    let error = json!({ "message": "too many leases", "code": "quota limit exceeded" });
    let item = json!({ "application-name": "wordpress", "error": error });
    assert_eq!(full["results"][1], item);
    instead(None);
    assert_eq!(call("UnpinMachineApplications").await, Ok(both));
    assert_eq!(call("PinnedLeadership").await, Ok(json!({})));

    let other = world.machine(1).await;
    let none = other.call("UpgradeSeries", 1, "PinMachineApplications", json!({}), soon).await;
    assert_eq!(none, Ok(json!({ "results": [] })), "nothing runs there");
    let unit = world.unit(0).await;
    let admin = world.admin(&Place::Model(MODEL.into())).await;
    for line in [&unit, &admin] {
        for method in ["PinMachineApplications", "UnpinMachineApplications", "PinnedLeadership"] {
            match line.call("UpgradeSeries", 3, method, json!({}), soon).await {
                Err(portcullis::client::wire::Failure::Answered(error)) => {
                    assert_eq!(error.code, DENIED, "{method}");
                }
                other => panic!("{method}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn each_change_of_addresses_is_told_once() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let (first, second) = (world.machine(0).await, world.machine(1).await);
    let changed = |change: &dyn Fn(&mut portcullis::api::Cluster)| {
        world.controller.cluster.send_modify(|cluster| {
            change(std::sync::Arc::make_mut(cluster));
        });
    };
    let moved = |port: u16| {
        changed(&|cluster| cluster.servers.values_mut().for_each(|one| one[0].port = port));
    };
    let next = |line: &portcullis::client::wire::Line, deadline| {
        let line = line.clone();
        async move {
            let request = json!({});
            line.call_on("NotifyWatcher", 1, "1", "Next", request, deadline).await
        }
    };
    for line in [&first, &second] {
        line.call("Machiner", 5, "WatchAPIHostPorts", json!({}), soon).await.expect("a watcher");
    }
    moved(1);
    for line in [&first, &second] {
        assert_eq!(next(line, soon).await, Ok(json!({})), "the first is answered at once");
    }
    let shortly = || {
        let now = portcullis::env::Env::now(&world.host);
        Some(now + std::time::Duration::from_millis(50))
    };
    let unknown = Err(portcullis::client::wire::Failure::Unknown);
    assert_eq!(next(&first, shortly()).await, unknown, "it has told of that change");
    // That call still waits on the controller, and takes the first change; it is the second one's.
    changed(&|cluster| cluster.models.clear());
    moved(1);
    assert_eq!(next(&second, shortly()).await, unknown, "nothing of the addresses has changed");
    let (waited, ()) = tokio::join!(next(&first, soon), async {
        first.ping(world.host.soon()).await.expect("the watcher is asked");
        moved(2);
        first.ping(world.host.soon()).await.expect("one of two calls was told");
        moved(3);
    });
    assert_eq!(waited, Ok(json!({})), "a change for each of the two calls");
    moved(4);
    moved(5);
    assert_eq!(next(&first, soon).await, Ok(json!({})), "two that nobody asked about are one");
    assert_eq!(next(&first, shortly()).await, unknown);
}

#[tokio::test]
async fn agents_keep_to_their_space_and_users_do_not() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let inside = HostPort {
        scope: Scope::LocalCloud,
        space_name: Some("mgmt".into()),
        ..HostPort::new("10.0.0.1", 17_070)
    };
    world.controller.cluster.send_modify(|cluster| {
        let cluster = std::sync::Arc::make_mut(cluster);
        cluster.space = Some("mgmt".into());
        let servers: Vec<_> = cluster.servers.values_mut().collect();
        let [first, second, third] = servers.try_into().expect("three controllers");
        *first = vec![HostPort::new("8.8.8.8", 17_070), inside];
        *second = vec![HostPort::new("fe80::1", 17_070), HostPort::new("8.8.4.4", 17_070)];
        *third = vec![HostPort::new("fe80::2", 17_070)];
    });
    let machine = world.machine(0).await;
    let told = machine.call("Machiner", 5, "APIAddresses", json!({}), soon).await;
    // Only the first controller has an address in the space, and nobody can reach the third.
    assert_eq!(told, Ok(json!({ "result": ["10.0.0.1:17070", "8.8.4.4:17070"] })));
    let line = world.line(&Place::Controller).await;
    let pass = Pass { tag: "user-admin".into(), password: "secret".into() };
    let welcome = line.login(&pass, world.host.soon()).await.expect("a login");
    let joined = |server: &Vec<HostPort>| server.iter().map(HostPort::joined).collect::<Vec<_>>();
    let told: Vec<Vec<String>> = welcome.servers.iter().map(joined).collect();
    assert_eq!(told, [vec!["10.0.0.1:17070", "8.8.8.8:17070"], vec!["8.8.4.4:17070"]]);
}

#[tokio::test]
async fn high_availability_says_how_many_vote() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let admin = world.admin(&Place::Controller).await;
    let spec = |number: i64| json!({ "specs": [{ "num-controllers": number }] });
    let voters = async || {
        let told = admin.call("Cluster", 1, "Members", json!({}), soon).await;
        told.expect("members")["voters-wanted"].as_u64()
    };
    for (number, code, wanted) in [
        (0, "", 3),
        (5, "not supported", 3),
        (1, "", 1),
        (2, "not valid", 1),
        (9, "not valid", 1),
        (-1, "not valid", 1),
        (3, "", 3),
    ] {
        let told = admin.call("HighAvailability", 2, "EnableHA", spec(number), soon).await;
        assert_eq!(codes(told.expect("results")), [code], "{number}");
        assert_eq!(voters().await, Some(wanted), "after {number}");
    }
    let none = admin.call("HighAvailability", 2, "EnableHA", json!({ "specs": null }), soon).await;
    assert_eq!(none, Ok(json!({ "results": [] })));
}

#[tokio::test]
async fn an_admin_looks_after_the_members() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let admin = world.admin(&Place::Controller).await;
    let call = async |method: &'static str, params: Value| match admin
        .call("Cluster", 1, method, params, soon)
        .await
    {
        Ok(_) => String::new(),
        Err(portcullis::client::wire::Failure::Answered(error)) => error.code,
        Err(other) => panic!("{method}: {other:?}"),
    };
    let told = admin.call("Cluster", 1, "Members", json!({}), soon).await.expect("members");
    assert_eq!((&told["leader"], &told["members"][0]["role"]), (&json!(0), &json!("leader")));
    let second = json!({
        "id": 1, "role": "voter", "address": "host-1:17022", "api-addresses": [], "domain": "",
        "heard": true, "heard-ago": 0.25, "lag": 2, "reads-least": 1, "reads-most": 2,
    });
    assert_eq!(told["members"][1], second);
    let node = |node: u64| json!({ "node": node });
    for (method, params, code) in [
        ("Remove", node(1), "not valid"), // Of the two that are left, one is not heard.
        ("Remove", node(7), "not found"),
        ("Demote", node(1), "not valid"), // Three are wanted, and there are three.
        ("Want", json!({ "voters": 2 }), "not valid"),
        ("Want", json!({ "voters": 1, "stand-bys": null }), ""),
        ("Promote", node(7), "not found"),
        ("Promote", node(1), ""),
        ("Promote", node(0), "not valid"), // One is wanted, and that is another.
        ("Promote", json!({ "node": 1, "undo": true }), ""),
        ("Demote", node(1), ""),
        ("HandOver", node(1), ""),
        ("HandOver", node(2), "not leader"),
        ("Remove", json!({}), "bad request"),
        ("Remove", json!({ "node": "one" }), "bad request"),
        ("Remove", node(2), ""),
        ("Remove", node(2), "not found"),
    ] {
        assert_eq!(call(method, params.clone()).await, code, "{method} {params}");
    }
    let told = admin.call("Cluster", 1, "Members", json!({}), soon).await.expect("members");
    assert_eq!(told["members"][1]["vote-wanted"], json!(false));
    assert_eq!(told["members"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn several_leases_are_claimed_at_once() {
    let mut world = World::new();
    let soon = Some(world.host.soon());
    let admin = world.admin(&Place::Model(MODEL.into())).await;
    let asks = |duration: Value| {
        let ask = |lease| json!({ "lease": lease, "holder": "app/0", "duration": duration });
        json!({ "asks": [ask("one"), ask("two"), { "lease": "", "duration": 1 }] })
    };
    for method in ["ClaimMany", "ExtendMany"] {
        let told = admin.call("Portcullis", 1, method, asks(json!(60)), soon).await;
        let told = told.expect("results");
        assert_eq!(told["results"][0]["outcome"], "granted", "{method}");
        assert_eq!(told["results"][1]["fence"], 2, "{method}");
        assert_eq!(codes(told), ["", "", "not valid"], "{method}");
    }
}
