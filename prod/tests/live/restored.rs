//! Backups: taken while the controllers run, believed only whole, and gone on from by one controller
//! that hands out nothing which anybody may still have.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use portcullis::backup::{Backup, Error};
use portcullis::client::wire::Line;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::processes::Processes;
use crate::world::MODEL;

const TWO_DOORS: &str = "api-port = API\ncontroller-api-port = CONTROLLER";

fn portcullis(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).output().expect("the program can be run")
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is plain")
}

async fn admin(all: &Processes, id: u64) -> Line {
    let api = all.api(id);
    all.until(id, "a login", || all.enter(&api, "user-admin")).await
}

async fn ask(all: &Processes, line: &Line, method: &str, lease: &str, holder: &str) -> Value {
    let asked = json!({
        "lease": lease, "holder": holder, "entity": "machine-0", "model": MODEL, "duration": 600.0,
    });
    let soon = Some(all.host.soon());
    line.call("Portcullis", 1, method, asked, soon).await.expect("an answer")
}

/// Two controllers that have decided something, and their backup; then both are killed.
async fn lost(all: &mut Processes) -> (Backup, u64) {
    for id in 1..=2 {
        all.write(id, TWO_DOORS);
        all.start(id);
    }
    for id in 1..=2 {
        all.health(id, 200, "running").await;
    }
    let line = admin(all, 1).await;
    for number in 0..100 {
        let claimed = ask(all, &line, "Claim", &format!("app{number}"), "mysql/0").await;
        assert_eq!(claimed["outcome"], "granted", "{claimed}");
    }
    ask(all, &line, "Pin", "app7", "mysql/0").await;
    let (client, file) = (all.folder.path().join("client.toml"), all.folder.path().join("backup"));
    let accounts = format!(
        "addresses = [\"{}\"]\nca = \"ca.pem\"\nmodel = \"{MODEL}\"\n\
         [[account]]\nname = \"admin\"\npassword = \"secret\"\n\
         [[account]]\nname = \"mysql/0\"\npassword = \"secret\"\n\
         [[account]]\nname = \"nobody\"\npassword = \"secret\"\n",
        all.api(2)
    );
    fs::write(&client, accounts).expect("the folder can be written");
    for stranger in ["nobody", "mysql/0"] {
        let refused = portcullis(&[
            "backup",
            "--to",
            text(&file),
            "--client",
            text(&client),
            "--as",
            stranger,
        ]);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(!file.exists(), "nothing is written for {stranger}");
    }
    let taken = portcullis(&["backup", "--to", text(&file), "--client", text(&client)]);
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    // What comes after it is lost with the two.
    let late = ask(all, &line, "Claim", "late", "mysql/9").await;
    for id in 1..=2 {
        all.signal(id, Signal::KILL);
        all.ended(id).await;
    }
    let backup = Backup::read(&file).expect("it is whole");
    (backup, late["fence"].as_u64().expect("it was granted"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_controller_goes_on_from_a_backup() {
    let mut all = Processes::prepare(2);
    let (_, late) = lost(&mut all).await;
    let file = all.folder.path().join("backup");
    let checked = portcullis(&["backup", "check", text(&file), "--json"]);
    let told: Value = serde_json::from_slice(&checked.stdout).expect("it is JSON");
    assert_eq!((&told["leases"], &told["pins"]), (&json!(100), &json!(1)), "{told}");
    assert_eq!((&told["members"], &told["controller"]), (&json!([1, 2]), &json!(2)), "{told}");

    // A folder that is in use is left alone, byte for byte.
    let data = all.home(1).join("data");
    let store = fs::read(data.join("raft.redb")).expect("it is there");
    let restore = |more: &[&str]| {
        let arguments = ["restore", text(&file), "--data-dir", text(&data)];
        portcullis(&[&arguments, more].concat())
    };
    let refused = restore(&["--controller-id", "1"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("not empty"), "{}", said(&refused));
    assert!(store == fs::read(data.join("raft.redb")).expect("it is there"), "it was touched");

    fs::rename(&data, all.home(1).join("lost")).expect("the folder can be written");
    let refused = restore(&["--controller-id", "7"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("was no member") && !data.exists(), "{}", said(&refused));
    let restored = restore(&["--controller-id", "1", "--quiet", "2s"]);
    assert_eq!(restored.status.code(), Some(0), "{}", said(&restored));

    all.start(1);
    all.health(1, 200, "running").await;
    let log = all.log(1);
    let place = |words: &str| log.rfind(words).unwrap_or_else(|| panic!("{words}: {log}"));
    assert!(place("the wait after the restore is over") < place("leading"), "{log}");
    let line = admin(&all, 1).await;
    let page = line.leases(None, None, None, all.host.soon()).await.expect("a page");
    assert_eq!(page.leases.len(), 100, "as in the backup");
    assert!(page.leases.iter().all(|lease| lease.fence > late), "no fence was ever handed out");
    let again = ask(&all, &line, "Claim", "late", "mysql/1").await;
    assert!(again["fence"].as_u64() > Some(late), "{again}");
    let held = ask(&all, &line, "Claim", "app3", "mysql/1").await;
    assert_eq!((&held["outcome"], &held["holder"]), (&json!("held"), &json!("mysql/0")), "{held}");

    // It is not waited for again.
    all.signal(1, Signal::KILL);
    all.ended(1).await;
    all.start(1);
    all.health(1, 200, "running").await;
    assert_eq!(all.log(1).matches("restored from a backup").count(), 1);
    // The other one is gone for ever, and is told so.
    all.start(2);
    assert_eq!(all.ended(2).await.code(), Some(8), "{}", all.log(2));
    assert!(all.log(2).contains("removed from the cluster"), "{}", all.log(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_believed_only_whole() {
    let mut all = Processes::prepare(2);
    let (backup, _) = lost(&mut all).await;
    let whole = backup.encode();
    assert_eq!(Backup::decode(&whole).expect("it is whole"), backup);
    for part in 0..50 {
        let mut bytes = whole.clone();
        bytes[part * (whole.len() - 1) / 49] ^= 1 << (part % 8);
        Backup::decode(&bytes).map(drop).expect_err("a bit is another");
    }
    for len in [0, 17, 18, 30, 40, whole.len() / 2, whole.len() - 33, whole.len() - 1] {
        Backup::decode(&whole[..len]).map(drop).expect_err("it is cut short");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(matches!(Backup::decode(&longer), Err(Error::Length { .. })));
    let mut newer = whole.clone();
    newer[18] += 1;
    assert!(matches!(Backup::decode(&newer), Err(Error::Version { found: 2 })));

    // Nothing is made of it either.
    let (file, data) = (all.folder.path().join("damaged"), all.folder.path().join("new"));
    let mut damaged = whole.clone();
    damaged[whole.len() / 3] ^= 1;
    fs::write(&file, damaged).expect("the folder can be written");
    for arguments in [
        &["restore", text(&file), "--data-dir", text(&data)][..],
        &["backup", "check", text(&file)][..],
    ] {
        let refused = portcullis(arguments);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("checksum"), "{}", said(&refused));
        assert!(!data.exists(), "nothing was made");
    }
}
