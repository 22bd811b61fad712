use std::os::unix::fs::PermissionsExt;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::duplex;

use super::*;

const NODE: NodeId = NodeId(3);

fn authority() -> Authority {
    Authority::make(KeyKind::Ed25519, Validity::century()).expect("an authority is made")
}

fn certificate(authority: &Authority, node: NodeId) -> Certificate {
    let also = ["10.0.0.3".to_owned(), "node-three.example".to_owned()];
    authority.issue(node, &also, Validity::century()).expect("a certificate is issued")
}

/// Shakes hands with a server of controller 3: what each side makes of it.
async fn meet(
    authority: &Authority,
    dial: impl AsyncFnOnce(tokio::io::DuplexStream) -> io::Result<()>,
) -> (io::Result<Arrived>, io::Result<()>) {
    let (near, far) = duplex(64 * 1024);
    let server = certificate(authority, NODE).server().expect("a server's configuration");
    let arrived = async { arrive(&server, far).await.map(|(_, arrived)| arrived) };
    tokio::join!(arrived, dial(near))
}

#[tokio::test]
async fn a_controller_arrives_as_itself() {
    let authority = authority();
    for kind in [KeyKind::Ed25519, KeyKind::P256] {
        let authority = Authority::make(kind, Validity::century()).expect("an authority is made");
        let client = certificate(&authority, NodeId(7)).peer_client().expect("a configuration");
        let (arrived, dialled) =
            meet(&authority, async |stream| dial_peer(&client, NODE, stream).await.map(drop)).await;
        assert_eq!(arrived.expect("the controller arrives"), Arrived::Peer(NodeId(7)));
        dialled.expect("the controller gets through");
    }
    let client = certificate(&authority, NodeId(7)).peer_client().expect("a configuration");
    let (_, dialled) =
        meet(&authority, async |stream| dial_peer(&client, NodeId(4), stream).await.map(drop))
            .await;
    assert!(dialled.is_err(), "controller 3 is not controller 4");
}

#[tokio::test]
async fn agents_arrive_for_http_with_either_version() {
    let authority = authority();
    let versions: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
    for (versions, named) in versions.into_iter().flat_map(|v| [(v, true), (v, false)]) {
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("a version that ring speaks")
            .with_root_certificates(roots(&[authority.certificate().clone()]).expect("roots"))
            .with_no_client_auth();
        if named {
            client.alpn_protocols = vec![ALPN_HTTP.to_vec()];
        }
        let client = Arc::new(client);
        for name in ["juju-apiserver", "anything", "127.0.0.1", "::1", "10.0.0.3"] {
            let (arrived, dialled) =
                meet(&authority, async |stream| dial(&client, name, stream).await.map(drop)).await;
            assert_eq!(arrived.expect("the agent arrives"), Arrived::Http);
            dialled.expect("the agent gets through");
        }
    }
}

#[tokio::test]
async fn whoever_cannot_prove_it_is_refused() {
    let ours = authority();
    let theirs = authority();
    // An agent that knows another authority finds no controller of its own here.
    let client = agent_client(&[theirs.certificate().clone()]).expect("a configuration");
    let (arrived, dialled) =
        meet(&ours, async |stream| dial_api(&client, stream).await.map(drop)).await;
    assert!(arrived.is_err() && dialled.is_err());
    // A controller of another cluster is not let in, even by one who believes us.
    let mut stranger = certificate(&theirs, NodeId(7));
    stranger.authority = vec![ours.certificate().clone()];
    let client = stranger.peer_client().expect("a configuration");
    let (arrived, _) =
        meet(&ours, async |stream| dial_peer(&client, NODE, stream).await.map(drop)).await;
    assert!(arrived.is_err());
    // Nobody speaks the peer protocol without a certificate.
    let mut client =
        ClientConfig::clone(&agent_client(&[ours.certificate().clone()]).expect("a configuration"));
    client.alpn_protocols = vec![ALPN_PEER.to_vec()];
    let client = Arc::new(client);
    let (arrived, _) = meet(&ours, async |stream| dial_api(&client, stream).await.map(drop)).await;
    assert!(arrived.is_err());
}

#[test]
fn a_certificate_proves_one_controller() {
    let chain = certificate(&authority(), NODE).chain;
    assert!(proves(&chain, NODE));
    assert!(!proves(&chain, NodeId(30)) && !proves(&chain, NodeId(0)) && !proves(&[], NODE));
    assert_eq!(named(&chain), Some(NODE));
    let leaf = webpki::EndEntityCert::try_from(&chain[0]).expect("a certificate");
    for name in [SERVER_NAME, "localhost", "anything", "juju-mongodb", "node-three.example", "::1"]
    {
        let name = ServerName::try_from(name).expect("a name");
        leaf.verify_is_valid_for_subject_name(&name).expect("a name of the controller");
    }
    assert_eq!(chain.len(), 2, "the authority is served as well");
}

#[test]
fn certificates_are_always_of_one_length() {
    let lengths = |_| {
        let authority = authority();
        let issued = certificate(&authority, NODE);
        (authority.certificate().len(), issued.chain[0].len(), issued.key.secret_der().len())
    };
    let first = lengths(0);
    assert!((1..64).map(lengths).all(|lengths| lengths == first));
}

#[test]
fn files_are_read_back_and_keys_are_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (ca, ca_key, cert, key) = (path("ca"), path("ca.key"), path("cert"), path("key"));
    let made = authority();
    made.save(&ca, &ca_key).expect("saved");
    let loaded = Authority::load(&ca, &ca_key).expect("loaded");
    assert_eq!(loaded.certificate(), made.certificate());
    let issued = certificate(&loaded, NODE);
    issued.save(&cert, &key).expect("saved");
    let loaded = Certificate::load(&cert, &key, &ca).expect("loaded");
    assert_eq!((&loaded.chain, &loaded.key), (&issued.chain, &issued.key));
    loaded.server().expect("certificate and key go together");
    for secret in [&ca_key, &key] {
        let mode = std::fs::metadata(secret).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn complaints_name_the_file_and_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (ca, ca_key, other_key) = (path("ca"), path("ca.key"), path("other.key"));
    authority().save(&ca, &ca_key).expect("saved");
    authority().save(&path("other"), &other_key).expect("saved");
    std::fs::write(path("text"), "hello").expect("written");
    std::fs::write(path("broken"), "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n")
        .expect("written");
    let complaint = |result: Result<(), Error>| {
        let text = result.expect_err("refused").to_string();
        text.replace(&folder.path().display().to_string(), "DIR")
    };
    let load = |name: &str| complaint(load_certificates(&path(name)).map(drop));
    assert_eq!(load("text"), "DIR/text: holds no certificate");
    assert!(load("absent").starts_with("DIR/absent: No such file"));
    assert!(load("broken").starts_with("DIR/broken: not PEM: "));
    let key = complaint(files::load_key(&ca).map(drop));
    assert_eq!(key, "DIR/ca: holds no private key");
    let pair = complaint(Authority::load(&ca, &other_key).map(drop));
    assert_eq!(pair, "DIR/ca: does not belong to the key in DIR/other.key");
}
