//! A cluster that grows by tokens, as whoever operates it meets it: real processes, real files, and
//! everything that can go wrong on the way.

#[path = "join/proxy.rs"]
mod proxy;
#[path = "join/world.rs"]
mod world;

use std::fs;

use portcullis::join::Token;
use world::{Site, reissue};

#[tokio::test]
async fn three_voters_are_made_by_hand() {
    let mut site = Site::new();
    site.bootstrapped().await;
    let secret = |name: &str| !name.ends_with(".pem 644") || name.contains("key");
    for file in site.modes("1").iter().filter(|file| secret(file)) {
        let private = file.ends_with(" 600") || ["data 755", "log 644"].contains(&file.as_str());
        assert!(private, "{file} may be read by anybody");
    }
    for (name, domain) in [("2", "b"), ("3", "c")] {
        let token = site.token().await;
        let said = site.join(name, &token, &["--domain", domain]).await.done();
        assert!(said.contains(&format!("joined as controller-{name} of cluster")), "{said}");
        let modes = site.modes(name);
        for file in ["ca.key 600", "key.pem 600", "controller.toml 600", "ca.pem 644"] {
            assert!(modes.iter().any(|has| has == file), "{file} in {modes:?}");
        }
        // Asked again, it says what is so.
        let again = site.join(name, &token, &[]).await.done();
        assert!(again.contains(&format!("controller-{name} has joined already")), "{again}");
        site.run(name);
    }
    site.logs("1", "appoint 1 2 3").await;
    let claim = ["lease", "claim", "mysql", "mysql/0", "--for", "60s", "--within", "60s"];
    site.says(&claim).await.done();
    // Without the first one the others are the majority: they have votes, and the log.
    site.kill("1").await;
    site.says(&claim).await.done();
    let taken = ["lease", "claim", "mysql", "mysql/1", "--for", "60s", "--within", "60s"];
    site.says(&taken).await.failed(2, "");
}

#[tokio::test]
async fn a_joiner_that_is_killed_goes_on_under_its_number() {
    let local = tokio::task::LocalSet::new();
    local.run_until(killed()).await;
}

async fn killed() {
    let mut site = Site::new();
    site.bootstrapped().await;
    let token = site.token().await;
    let whole: Token = token.parse().expect("a token");
    let muted = proxy::mute(whole.addresses[0].clone());
    let muted = Token { addresses: vec![muted], ..whole }.to_string();
    let folder = site.path("2").display().to_string();
    let ports = site.ports();
    let mut words = vec!["join", &muted, "--data-dir", &folder];
    words.extend(ports.iter().map(String::as_str));
    let mut joiner = site.command(&words).spawn().expect("it can be run");
    let listed = || async {
        let said = site.says(&["cluster", "add", "--list"]).await.out;
        said.contains("used by controller-2").then_some(())
    };
    site.until("the log knows it", listed).await;
    joiner.kill().await.expect("it is a child");
    assert_eq!(site.modes("2"), ["joined-by 644", "key.pem 600"]);
    // Another key gets nothing by it, and the first one everything.
    site.join("3", &token, &[]).await.failed(2, "used already");
    assert_eq!(site.modes("3"), [] as [&str; 0], "the folder may be used again");
    let said = site.join("2", &token, &[]).await.done();
    assert!(said.contains("joined as controller-2"), "{said}");
    let other = site.token().await;
    site.join("2", &other, &[]).await.failed(1, "belongs to a join by another token");
    let said = site.join("3", &other, &[]).await.done();
    assert!(said.contains("joined as controller-3"), "no number was lost: {said}");
    // Alone, with an empty log, it founds no cluster of its own: it has no vote.
    site.kill("1").await;
    assert!(site.state("2").await.contains("learner"), "{}", site.log("2"));
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said() {
    let mut site = Site::new();
    site.bootstrapped().await;
    let text = site.token().await;
    let token: Token = text.parse().expect("a token");
    let made = |token: Token| token.to_string();
    // Copied badly, or not at all.
    site.join("2", &text[..text.len() - 1], &[]).await.failed(1, "damaged");
    site.join("2", "hello", &[]).await.failed(1, "this is no token");
    site.join("2", &text.replace("-1-", "-9-"), &[]).await.failed(1, "another version");
    assert!(!site.path("2").exists(), "nothing is made for a token that is none");
    // Another cluster, another authority, nobody at all.
    let other = Token { cluster: "11111111-2222-4333-8444-555555555555".into(), ..token.clone() };
    site.join("2", &made(other), &[]).await.failed(2, "for another cluster");
    let other = Token { authority: [1; 32], ..token.clone() };
    site.join("2", &made(other), &[]).await.failed(4, "another authority than the token names");
    let (port, nobody) = (site.ports(), token.clone());
    let nobody = Token { addresses: vec![format!("127.0.0.1:{}", port[1])], ..nobody };
    site.join("4", &made(nobody), &["--within", "1s"]).await.failed(4, "Connection refused");
    // Of a secret that nobody was invited by, of one that was taken back, and of one that is old.
    let unknown = Token { secret: [1; 32], ..token.clone() };
    site.join("5", &made(unknown), &[]).await.failed(2, "nobody is invited by this token");
    let revoked = site.token().await;
    let hash = revoked.parse::<Token>().expect("a token").hash();
    let hash: String = hash.0[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    site.says(&["cluster", "add", "--revoke", &hash]).await.done();
    site.says(&["cluster", "add", "--revoke", &hash]).await.failed(2, "there is no token");
    site.join("5", &revoked, &[]).await.failed(2, "was revoked");
    let old = site.says(&["cluster", "add", "--for", "1s"]).await.done();
    let gone = || async {
        let said = site.says(&["cluster", "add", "--list"]).await.done();
        (said.lines().count() == 1).then_some(())
    };
    site.until("the old one is void", gone).await;
    site.join("5", old.trim(), &[]).await.failed(2, "it has expired");
    // Of folders and addresses.
    site.join("1", &text, &[]).await.failed(1, "it has ca.key, ca.pem, cert.pem");
    let taken = site.path("1").display().to_string();
    site.says(&["bootstrap", "--data-dir", &taken]).await.failed(1, "is not empty: it has ca.key");
    site.join("5", &text, &["--address", "10.0.0.1:1"]).await.failed(1, "--api-port");
    // Nothing of all this has used the token up.
    let said = site.join("5", &text, &[]).await.done();
    assert!(said.contains("joined as controller-2"), "{said}");
    site.join("6", &text, &[]).await.failed(2, "used already");
}

#[tokio::test]
async fn a_controller_without_the_key_lets_nobody_in_and_says_who_may() {
    let mut site = Site::new();
    site.bootstrapped().await;
    let token = site.token().await;
    let file = site.path("1/controller.toml");
    let text = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, text.replace("ca-key = \"ca.key\"\n", "")).expect("it can be written");
    site.kill("1").await;
    site.run("1");
    site.serves().await;
    site.join("2", &token, &["--within", "2s"]).await.failed(4, "has no ca-key");
    fs::write(&file, text).expect("it can be written");
    site.kill("1").await;
    site.run("1");
    let said = site.join("2", &token, &["--within", "60s"]).await.done();
    assert!(said.contains("joined as controller-2"), "a token outlives a restart: {said}");
}

#[tokio::test]
async fn a_removed_controller_does_not_come_back() {
    let mut site = Site::new();
    site.bootstrapped().await;
    let token = site.token().await;
    site.join("2", &token, &[]).await.done();
    site.run("2");
    site.logs("1", "add controller-2").await;
    site.says(&["cluster", "remove", "2", "--within", "60s"]).await.done();
    assert_eq!(site.ended("2").await.code(), Some(8), "{}", site.log("2"));
    site.run("2");
    assert_eq!(site.ended("2").await.code(), Some(8), "{}", site.log("2"));
    // Its token is used, by whatever key it asks.
    let again = site.path("2").join("controller.toml");
    fs::remove_file(again).expect("it is there");
    site.join("2", &token, &[]).await.failed(2, "used already");
    let another = site.token().await;
    let said = site.join("3", &another, &[]).await.done();
    assert!(said.contains("joined as controller-3"), "no number is given twice: {said}");
}

#[tokio::test]
async fn certificates_that_nobody_believes_are_said_on_both_sides() {
    let mut site = Site::new();
    site.bootstrapped().await;
    let token = site.token().await;
    site.join("2", &token, &[]).await.done();
    let home = site.path("2");
    const DAY: i64 = 86_400;
    // By the calendar: used up, or issued by a clock that was ahead of this one.
    reissue(&home, 2, -2 * DAY, -DAY);
    site.run("2");
    assert_eq!(site.ended("2").await.code(), Some(1));
    site.logs("2", "the certificate of controller-2 has expired").await;
    reissue(&home, 2, DAY, 2 * DAY);
    site.run("2");
    assert_eq!(site.ended("2").await.code(), Some(1));
    site.logs("2", "is not valid yet").await;
    assert!(!home.join("data").exists(), "nothing was opened");
    // Renewed, it is believed at once; of one that ends soon it says so.
    let file = home.join("controller.toml").display().to_string();
    let renewed = site.says(&["cluster", "renew-certificate", "--config", &file]).await.done();
    assert!(renewed.contains("the certificate of controller-2 is valid until 20"), "{renewed}");
    site.run("2");
    site.logs("2", "this controller's certificate is believed").await;
    site.kill("2").await;
    reissue(&home, 2, -DAY, 3 * DAY);
    site.run("2");
    site.logs("2", "certificate expires in 2 days").await;
    site.logs("1", "add controller-2").await;
    site.kill("2").await;
    // Of another authority: neither believes the other, and both say so.
    let stranger = site.path("stranger").display().to_string();
    let ports = site.ports();
    let mut words = vec!["bootstrap", "--data-dir", &stranger];
    words.extend(ports.iter().map(String::as_str));
    site.says(&words).await.done();
    for file in ["ca.pem", "ca.key"] {
        fs::copy(site.path("stranger").join(file), home.join(file)).expect("it can be written");
    }
    fs::remove_file(home.join("log")).expect("it is there");
    let cert = fs::read(home.join("cert.pem")).expect("it is there");
    site.run("2");
    assert_eq!(site.ended("2").await.code(), Some(1));
    site.logs("2", "does not come from the authority").await;
    reissue(&home, 2, -DAY, 90 * DAY);
    assert_ne!(fs::read(home.join("cert.pem")).expect("it is there"), cert);
    site.run("2");
    site.logs("2", "comes from another authority").await;
    site.logs("1", "comes from another authority").await;
}

#[tokio::test]
async fn tokens_are_bounded_and_so_are_guesses() {
    use portcullis::join::client::{Failure, ask};
    use portcullis::join::{Asked, FAILED_MAX, Key, Refused, key_statement};
    use portcullis::tls::{OwnKey, pinned_client};
    use portcullis_core::Address;
    use portcullis_core::members::READS;

    let mut site = Site::new();
    site.bootstrapped().await;
    let token: Token = site.token().await.parse().expect("a token");
    let (tls, key) = (pinned_client(token.authority).expect("TLS"), OwnKey::make().expect("a key"));
    let try_with = async |secret: [u8; 32], proof: [u8; 32], address: &str| {
        let to = Address::new(&token.addresses[0]);
        let stream = portcullis::env::Env::connect(&site.env, &to).await.expect("it listens");
        let asked = Asked {
            cluster: token.cluster.clone(),
            secret: secret.to_vec(),
            key: Key {
                ed25519: false,
                public: key.public().bytes().to_vec(),
                proof: key.sign(&key_statement(&proof)).expect("signed"),
            },
            controller_address: address.into(),
            api_addresses: vec![address.into()],
            domain: String::new(),
            reads: READS,
        };
        ask(&site.env, &tls, stream, &asked).await
    };
    let guess = [3; 32];
    for _ in 0..FAILED_MAX {
        let failed = try_with(guess, guess, "a:1").await;
        assert!(matches!(failed, Err(Failure::Refused(Refused::NoToken))), "{failed:?}");
    }
    let failed = try_with(guess, guess, "a:1").await;
    assert!(matches!(failed, Err(Failure::Refused(Refused::TryAgain { .. }))), "{failed:?}");
    // Who was invited is not kept waiting by that, but must have the key and a sound address.
    let secret = token.secret;
    for (proof, address) in [(guess, "a:1"), (secret, "a:0"), (secret, "a"), (secret, "ä b:1")] {
        let failed = try_with(secret, proof, address).await;
        let refused = matches!(failed, Err(Failure::Refused(Refused::Malformed { .. })));
        assert!(refused, "{address}: {failed:?}");
    }
    // Too large, or too much.
    let failed = try_with(secret, secret, &format!("{}:1", "a".repeat(4_000))).await;
    assert!(matches!(failed, Err(Failure::Refused(Refused::Malformed { .. }))), "{failed:?}");
    let failed = try_with(secret, secret, &format!("{}:1", "a.".repeat(150))).await;
    assert!(matches!(failed, Err(Failure::Refused(Refused::Refused { .. }))), "{failed:?}");
    // One token is there already.
    for _ in 1..portcullis_core::members::TOKENS_MAX {
        site.token().await;
    }
    site.says(&["cluster", "add"]).await.failed(5, "there are 64 tokens that are not void");
    let joined = try_with(secret, secret, "127.0.0.1:1").await.expect("it joins");
    assert_eq!(joined.node, 2);
}
