//! An agent's file as controllers move.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use portcullis::api::Place;
use portcullis::client::wire::Pass;
use portcullis::client::{Client, Config, Follows, remember};
use portcullis::node::{Doors, Live};
use portcullis_core::addresses::HostPort;
use portcullis_core::{Address, NodeId, agent, pace};

use crate::world::{Cluster, MODEL};

/// The controller goes on with these addresses.
async fn at(cluster: &Cluster, addresses: &[HostPort], space: Option<&str>) {
    let controller = cluster.nodes[&1].ports().borrow().controller.clone();
    let live = Live {
        peers: BTreeMap::new(),
        doors: Doors { api: cluster.addresses[&1], controller, controllers_first: false },
        servers: BTreeMap::from([(NodeId(1), addresses.to_vec())]),
        space: space.map(str::to_owned),
        models: vec![portcullis::api::Model {
            uuid: MODEL.into(),
            name: "controller".into(),
            ..portcullis::api::Model::default()
        }],
        moved: BTreeMap::new(),
        pace: pace::Config { burst: 0, ..pace::Config::default() },
        open_delay: Duration::ZERO,
    };
    cluster.nodes[&1].reload(live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_addresses_are_rewritten_and_never_to_nowhere() {
    let cluster = Cluster::start(1, |_| ()).await;
    let here = Address::new(&cluster.addresses[&1].to_string());
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("agent.toml");
    fs::write(&file, format!("# Mine.\naddresses = [\"{here}\"]\n")).expect("it can be written");
    let pass = Pass { tag: "unit-mysql-0".into(), password: "secret".into() };
    let config = Config {
        agent: agent::Config::default(),
        addresses: vec![here.clone()],
        tls: cluster.client.clone(),
        follows: Follows::of(&pass.tag),
        pass,
        place: Place::Model(MODEL.into()),
    };
    let client = Client::start(&cluster.host, config);
    let reads = async |addresses: &[&str]| {
        let list: Vec<String> = addresses.iter().map(|address| format!("{address:?}")).collect();
        let wanted = format!("# Mine.\naddresses = [{}]\n", list.join(", "));
        let what = format!("the file has {addresses:?}");
        let is = || async { (fs::read_to_string(&file).ok()? == wanted).then_some(()) };
        cluster.host.until(&what, is).await;
    };
    let story = async {
        let inside = HostPort { space_name: Some("mgmt".into()), ..HostPort::new("10.0.0.1", 1) };
        let outside = HostPort::new("8.8.8.8", 2);
        let standing = client.standing();
        let up = || async { standing.borrow().line.as_ref().map(|_| ()) };
        cluster.host.until("the agent is in", up).await;
        at(&cluster, &[outside.clone(), inside.clone()], None).await;
        reads(&["10.0.0.1:1", "8.8.8.8:2"]).await;
        at(&cluster, &[outside.clone(), inside], Some("mgmt")).await;
        reads(&["10.0.0.1:1"]).await;
        // A list of nothing, and after it one that is written: so the first was not.
        at(&cluster, &[], Some("mgmt")).await;
        assert!(fs::read_to_string(&file).expect("it is there").contains("10.0.0.1:1"));
        at(&cluster, &[outside], Some("mgmt")).await;
        reads(&["8.8.8.8:2"]).await;
    };
    tokio::select! {
        biased;
        () = story => {}
        () = remember::follow(&client, file.clone()) => unreachable!("the client goes on"),
    }
    drop(client);
    cluster.stop().await;
}
