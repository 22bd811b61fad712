//! Models that live elsewhere: who is sent there, who goes, and what goes round in a circle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis::api::{Elsewhere, Place};
use portcullis::client::wire::{self, NotIn, Pass};
use portcullis::client::{Client, Config};
use portcullis::env::Env;
use portcullis::node::{Doors, Live};
use portcullis::tls;
use portcullis_core::controller::Request;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key, Operation};
use portcullis_core::queue::Answer;
use portcullis_core::{Address, NodeId, agent, backoff, dialer, pace};
use serde_json::json;

use crate::world::{CLUSTER, Cluster, MODEL, host_port};

/// The model that moves.
const MOVING: &str = "deadbeef-0bad-400d-8000-00000000beef";

/// What a cluster goes on with: the moving model is there.
fn moved_to(cluster: &Cluster, consent: bool) -> Elsewhere {
    let servers = cluster.addresses.values().map(|address| vec![host_port(*address)]).collect();
    let authority = tls::to_pem(&[cluster.authority.certificate().clone()]);
    Elsewhere { servers, authority, controller: Some(CLUSTER.into()), consent }
}

/// Makes the model live elsewhere, or, without that, here.
async fn moves(cluster: &Cluster, to: Option<Elsewhere>) {
    let named = |(id, address): (&u64, &SocketAddr)| (NodeId(*id), vec![host_port(*address)]);
    let model = |uuid: &str, name: &str| portcullis::api::Model {
        uuid: uuid.into(),
        name: name.into(),
        ..portcullis::api::Model::default()
    };
    let mut models = vec![model(MODEL, "controller")];
    models.extend(to.is_none().then(|| model(MOVING, "moving")));
    let controller = cluster.nodes[&1].ports().borrow().controller.clone();
    let live = Live {
        peers: BTreeMap::new(),
        doors: Doors { api: cluster.addresses[&1], controller, controllers_first: false },
        servers: cluster.addresses.iter().map(named).collect(),
        space: None,
        models,
        moved: to.map(|to| (MOVING.to_owned(), to)).into_iter().collect::<BTreeMap<_, _>>(),
        pace: pace::Config { burst: 0, ..pace::Config::default() },
        open_delay: Duration::ZERO,
    };
    cluster.nodes[&1].reload(live).await;
}

fn client(cluster: &Cluster) -> Client {
    let never = Duration::from_secs(3_600);
    let dialer = dialer::Config {
        manner: dialer::Manner::User,
        redirects_max: 3,
        backoff: backoff::Config { first: never, most: never, growth: 200 },
        ..dialer::Config::default()
    };
    let config = Config {
        agent: agent::Config { dialer, ..agent::Config::default() },
        addresses: vec![Address::new(&cluster.addresses[&1].to_string())],
        tls: cluster.client.clone(),
        pass: Pass { tag: "user-admin".into(), password: "secret".into() },
        follows: None,
        place: Place::Model(MOVING.into()),
    };
    Client::start(&cluster.host, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_follows_its_model_to_another_cluster() {
    let (here, there) = (Cluster::start(1, |_| ()).await, Cluster::start(1, |_| ()).await);
    moves(&there, None).await;
    moves(&here, Some(moved_to(&there, false))).await;
    let client = client(&here);
    let key = Key::new(APPLICATION_LEADERSHIP, MOVING, "mysql");
    let holder = "mysql/0".into();
    let minute = Duration::from_secs(60);
    let claim = Operation::Claim { key, holder, duration: minute };
    let granted = client.ask(Request::Apply(claim), minute).await;
    assert!(matches!(granted, Answer::Done { .. }), "{granted:?}");
    let dials: Vec<Address> = here.host.dials.lock().unwrap().clone();
    let wanted = [&here, &there].map(|one| Address::new(&one.addresses[&1].to_string()));
    assert_eq!(dials, wanted);
    drop(client);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_is_left_after_a_few_rounds() {
    let (here, there) = (Cluster::start(1, |_| ()).await, Cluster::start(1, |_| ()).await);
    moves(&there, Some(moved_to(&here, false))).await;
    moves(&here, Some(moved_to(&there, false))).await;
    let client = client(&here);
    let host = here.host.clone();
    let dials = || host.dials.lock().unwrap().len();
    host.until("all redirects are followed", || async { (dials() == 4).then_some(()) }).await;
    host.sleep_until(host.now() + Duration::from_secs(1)).await;
    assert_eq!(dials(), 4, "it waits before it tries anew");
    assert!(client.standing().borrow().line.is_none());
    drop(client);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_sent_and_who_is_asked_first() {
    let cluster = Cluster::start(1, |_| ()).await;
    let soon = cluster.host.soon();
    let login = async |tag: &str, password: &str| {
        let stream = cluster.tcp(1).await;
        let place = Place::Model(MOVING.into());
        let line = wire::open(&cluster.host, stream, &cluster.client, "localhost", &place, soon);
        let pass = Pass { tag: tag.into(), password: password.into() };
        line.await.expect("a connection").login(&pass, soon).await
    };
    let code = |refused| match refused {
        Err(NotIn::Refused(error)) => error.code,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(code(login("user-admin", "secret").await), "model not found");
    let to = moved_to(&cluster, true);
    moves(&cluster, Some(to.clone())).await;
    assert_eq!(code(login("user-admin", "wrong").await), "unauthorized access");
    assert_eq!(code(login("unit-mysql-0", "secret").await), "model not found");
    match login("user-admin", "secret").await {
        Err(NotIn::Refused(error)) => {
            assert_eq!(error.message, "redirection to alternative server required");
            assert_eq!(error.code, "redirection required");
            let controller = format!("controller-{CLUSTER}");
            let info = json!({
                "servers": to.servers, "ca-cert": to.authority, "controller-tag": controller,
            });
            assert_eq!(error.info, Some(info));
        }
        other => panic!("not refused: {other:?}"),
    }
    moves(&cluster, Some(moved_to(&cluster, false))).await;
    let followed = login("user-admin", "secret").await;
    assert!(matches!(followed, Err(NotIn::Redirected { .. })), "{followed:?}");
    moves(&cluster, None).await;
    login("user-admin", "secret").await.expect("it lives here");
    cluster.stop().await;
}
