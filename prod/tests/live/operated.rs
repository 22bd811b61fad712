//! A cluster as its operator meets it: `portcullis cluster`, and what becomes of who is removed.

use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::processes::Processes;

/// Keys that make roles move at a pace that tests can wait for.
const KEYS: &str = "api-port = API\ncontroller-api-port = CONTROLLER\n\
                    [members]\nsilent-max = \"3s\"\nsteady-min = \"500ms\"";

/// Starts so many controllers, and waits until they know each other.
async fn cluster(count: u64) -> Processes {
    let mut processes = Processes::prepare(count);
    processes.write_client();
    for id in 1..=count {
        processes.write(id, KEYS);
        processes.start(id);
    }
    processes.linked().await;
    processes
}

/// What the program says to these words.
async fn run(processes: &Processes, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(words.split_whitespace()).kill_on_drop(true);
    command.env("PORTCULLIS_CLIENT", processes.folder.path().join("client.toml"));
    command.output().await.expect("the program can be run")
}

/// The same, which must end with this code.
async fn ends(processes: &Processes, words: &str, code: i32) -> String {
    let Output { status, stdout, stderr } = run(processes, words).await;
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert_eq!(status.code(), Some(code), "{words}: {said}");
    said
}

/// What `cluster list` says of who there is.
async fn listed(processes: &Processes) -> Value {
    let told = ends(processes, "cluster list --json --within 60s", 0).await;
    serde_json::from_str(&told).expect("JSON")
}

fn role(list: &Value, id: u64) -> &str {
    let members = list["members"].as_array().expect("members");
    let member = members.iter().find(|member| member["id"] == id);
    member.and_then(|member| member["role"].as_str()).unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_go_where_the_operator_wants_them() {
    let mut processes = cluster(4).await;
    let said = |words: &'static str, code| ends(&processes, words, code);
    said("lease claim mysql mysql/0 --for 1h --within 60s", 0).await;
    // Three vote in the end, though four founded it.
    said("cluster want --voters 3 --stand-bys 1 --within 60s", 0).await;
    let list = listed(&processes).await;
    let stand_by = (1..=4).find(|id| role(&list, *id) == "stand-by").expect("one of four");
    let voter = (1..=4).find(|id| role(&list, *id) == "voter").expect("two of four");

    ends(&processes, &format!("cluster promote {stand_by}"), 0).await;
    assert!(["voter", "leader"].contains(&role(&listed(&processes).await, stand_by)));
    ends(&processes, &format!("cluster lead controller-{stand_by}"), 0).await;
    assert_eq!(listed(&processes).await["leader"], stand_by);
    // Who leads hands the lead over, and then gives its vote up.
    ends(&processes, &format!("cluster demote machine-{stand_by}"), 0).await;
    let list = listed(&processes).await;
    assert_eq!(role(&list, stand_by), "stand-by", "{list}");
    // Without this one and that one there would be two for three votes.
    let refused = ends(&processes, &format!("cluster demote {voter}"), 2).await;
    assert!(refused.contains("fewer than are wanted"), "{refused}");
    ends(&processes, &format!("cluster demote {stand_by} --undo"), 0).await;

    said("cluster want --voters 1", 0).await;
    let list = listed(&processes).await;
    let votes = (1..=4).filter(|id| ["voter", "leader"].contains(&role(&list, *id))).count();
    assert_eq!(votes, 1, "{list}");
    let said_so = said("cluster want --voters 5 --no-wait", 0).await;
    assert!(said_so.contains("portcullis cluster add"), "{said_so}");
    said("cluster want --voters 3 --stand-bys 3", 0).await;
    said("cluster remove 9", 2).await;
    said("lease claim mysql mysql/1 --within 60s", 2).await;

    // Who stops gives away what it has, and is missed by nobody.
    let leader = listed(&processes).await["leader"].as_u64().expect("one leads");
    processes.signal(leader, Signal::TERM);
    assert!(processes.ended(leader).await.success(), "{}", processes.log(leader));
    let log = processes.log(leader);
    assert!(log.contains("order=hand over") && !log.contains("took over in time"), "{log}");
    let list = listed(&processes).await;
    assert_ne!(list["leader"], leader, "{list}");
    assert_eq!(role(&list, leader), "stand-by", "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_stops_and_is_never_served_again() {
    let mut processes = cluster(3).await;
    // Whoever leads must have heard of both others by then.
    for id in 1..=3 {
        processes.health(id, 200, "running").await;
    }
    ends(&processes, "lease claim mysql mysql/0 --for 1h --within 60s", 0).await;
    ends(&processes, "cluster remove 3", 0).await;
    let status = processes.ended(3).await;
    assert_eq!(status.code(), Some(8), "{}", processes.log(3));
    let word = "controller-3 was removed from the cluster, for ever";
    assert!(processes.log(3).contains(word), "{}", processes.log(3));
    assert_eq!(role(&listed(&processes).await, 3), "none");

    // Back with its data, it is told by the others, whatever it believes.
    processes.start(3);
    let status = processes.ended(3).await;
    assert_eq!(status.code(), Some(8), "{}", processes.log(3));
    assert_eq!(processes.log(3).matches(word).count(), 2, "{}", processes.log(3));
    ends(&processes, "lease claim mysql mysql/1 --within 60s", 2).await;
    ends(&processes, "lease claim other mysql/1 --within 60s", 0).await;

    // Of two one votes. When the other is silent it is that one that can go.
    ends(&processes, "cluster want --voters 3 --stand-bys 3", 0).await;
    let list = listed(&processes).await;
    let leader = list["leader"].as_u64().expect("one leads");
    let other = 3 - leader;
    assert_eq!(role(&list, other), "stand-by", "{list}");
    processes.signal(other, Signal::KILL);
    processes.ended(other).await;
    let silent = async || {
        let list = listed(&processes).await;
        let members = list["members"].as_array().expect("members");
        members.iter().any(|member| member["heard"] == false).then_some(())
    };
    processes.until(leader, "the silence of the other", silent).await;
    let refused = ends(&processes, &format!("cluster remove {leader}"), 2).await;
    assert!(refused.contains("must stay"), "{refused}");
    ends(&processes, &format!("cluster remove {other}"), 0).await;
    let refused = ends(&processes, &format!("cluster remove {leader}"), 2).await;
    assert!(refused.contains("last member"), "{refused}");
    ends(&processes, "lease claim third mysql/1 --within 60s", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_recovered_when_the_majority_is_gone() {
    let mut processes = cluster(3).await;
    processes.health(3, 200, "running").await;
    ends(&processes, "lease claim mysql mysql/0 --for 1h --within 60s", 0).await;
    // The one that is left has it.
    let index = async |id| processes.figure(id, "portcullis_raft_index{of=\"applied\"}").await;
    let led = index(1).await.expect("it runs");
    processes.until(3, "the claim", async || index(3).await.filter(|at| *at >= led)).await;
    for id in [1, 2] {
        processes.signal(id, Signal::KILL);
        processes.ended(id).await;
    }
    let file = processes.file(3);
    let recover = format!("cluster recover --config {}", file.display());
    let in_use = ends(&processes, &format!("{recover} --force"), 1).await;
    assert!(in_use.contains("is in use"), "{in_use}");
    processes.signal(3, Signal::TERM);
    processes.ended(3).await;

    let said = ends(&processes, &recover, 1).await;
    for word in ["last entry", "1 held", "controller-1, controller-2", "--force does it"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let folder = file.parent().expect("a folder").join("data");
    let by_folder = format!("cluster recover --json --data-dir {}", folder.display());
    let told = ends(&processes, &by_folder, 1).await;
    assert!(told.contains("\"controller\":3"), "{told}");
    ends(&processes, &format!("{recover} --force"), 0).await;
    let again = ends(&processes, &format!("{recover} --force"), 0).await;
    assert!(again.contains("nothing is changed"), "{again}");

    processes.start(3);
    ends(&processes, "lease claim mysql mysql/1 --within 60s", 2).await;
    ends(&processes, "lease claim other mysql/1 --within 60s", 0).await;
    let list = listed(&processes).await;
    assert_eq!((role(&list, 3), list["members"].as_array().map(Vec::len)), ("leader", Some(1)));
    ends(&processes, "cluster remove 3", 2).await;
    for id in [1, 2] {
        processes.start(id);
        let status = processes.ended(id).await;
        assert_eq!(status.code(), Some(8), "{}", processes.log(id));
    }
    let strange = ends(&processes, "cluster recover --data-dir /nowhere", 1).await;
    assert!(strange.contains("/nowhere"), "{strange}");
    ends(&processes, "lease claim third mysql/1 --within 60s", 0).await;
}
