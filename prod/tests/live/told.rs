//! What a controller tells whoever started it: which ports it has, and how it is.

use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::process::Signal;

use crate::processes::Processes;

/// Port 0 wherever there is a port.
const ANY: &str = "api-port = 0\ncontroller-socket = \"controller.sock\"";

/// Whatever takes longer than this will not come any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a service manager is told, until a line is among it.
fn told(manager: &UnixDatagram, until: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let mut bytes = [0; 4_096];
        let length = match manager.recv(&mut bytes) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("never told {until}: {error}, but\n{}", heard.join("\n")),
        };
        let text = str::from_utf8(&bytes[..length]).expect("it is text");
        heard.extend(text.lines().map(str::to_owned));
        if text.lines().any(|line| line.starts_with(until)) {
            return heard;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_controllers_find_each_other_with_port_0_everywhere() {
    let mut all = Processes::prepare(3);
    // Nobody has a port before the kernel gives it one, so at first nobody is told of any.
    let nowhere: Vec<_> = (1..=3).map(|id| (id, id as u16, id as u16)).collect();
    for id in 1..=3 {
        all.write_with(id, ANY, &nowhere);
        all.start(id);
    }
    let mut addresses = Vec::new();
    for id in 1..=3 {
        addresses.push(all.told(id, "api-port").await);
    }
    let port = |address: &String| address.rsplit(':').next()?.parse::<u16>().ok();
    let ports = addresses.iter().map(|address| port(address).expect("a port"));
    let known: Vec<_> = (1..).zip(ports).map(|(id, port)| (id, port, port)).collect();
    for id in 1..=3 {
        all.write_with(id, ANY, &known);
        all.signal(id, Signal::HUP);
    }
    for (id, address) in (1..).zip(&addresses) {
        all.health(id, 200, "running").await;
        all.until(id, "a login", || all.enter(address, "user-admin")).await;
    }
    all.linked().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_ports_is_there_while_they_are_bound() {
    let mut all = Processes::prepare(1);
    all.write(1, ANY);
    let file = all.home(1).join("ports.json");
    fs::write(&file, "what a killed process has left").expect("the folder can be written");
    all.start(1);
    let api = all.told(1, "api-port").await;
    assert!(!api.ends_with(":0"), "{api}");
    let socket = all.told(1, "controller-socket").await;
    let socket = fs::metadata(socket).expect("it is there");
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    all.health(1, 200, "running").await;
    let names = fs::read_dir(all.home(1)).expect("a folder").flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 6, "nothing half written is left: {names:?}");
    all.signal(1, Signal::TERM);
    assert_eq!(all.ended(1).await.code(), Some(0), "{}", all.log(1));
    assert!(!file.exists(), "a clean stop takes the file along");
    assert!(!all.home(1).join("data/controller.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_a_killed_process_has_left_is_taken_over() {
    let mut all = Processes::prepare(1);
    all.write(1, ANY);
    for _ in 0..2 {
        all.start(1);
        all.health(1, 200, "running").await;
        all.signal(1, Signal::KILL);
        assert_eq!(all.ended(1).await.code(), None);
        assert!(all.home(1).join("data/controller.sock").exists());
        fs::remove_file(all.home(1).join("ports.json")).expect("a killed process leaves it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_is_told() {
    let mut all = Processes::prepare(1);
    all.write(1, ANY);
    let abstracted = format!("portcullis-test-{}", std::process::id());
    let path = all.folder.path().join("notify.sock");
    let by_name = SocketAddr::from_abstract_name(&abstracted).expect("a name");
    for (manager, name) in [
        (UnixDatagram::bind(&path), path.display().to_string()),
        (UnixDatagram::bind_addr(&by_name), format!("@{abstracted}")),
    ] {
        let manager = manager.expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("it is open");
        all.start_with(1, |command| {
            command.env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "200000")
        });
        let before = told(&manager, "READY=1");
        // A machine that stands still for a moment has nothing to say of the wait.
        let is_open = |line: &&String| line.starts_with("STATUS=api door open");
        let waits = |line: &String| !line.starts_with("STATUS=") || line.contains("waits for");
        assert!(before.iter().take_while(|line| !is_open(line)).all(waits), "{before:?}");
        let open = before.iter().find(is_open).expect("both are told in one");
        assert!(open.contains("api-port 127.0.0.1:"), "{open}");
        told(&manager, "WATCHDOG=1");
        all.signal(1, Signal::HUP);
        told(&manager, "RELOADING=1");
        told(&manager, "READY=1");
        all.signal(1, Signal::TERM);
        told(&manager, "STOPPING=1");
        assert_eq!(all.ended(1).await.code(), Some(0), "{}", all.log(1));
    }
    for (key, value) in [("NOTIFY_SOCKET", "nowhere"), ("NOTIFY_SOCKET", "/nowhere/at/all")] {
        all.start_with(1, |command| command.env(key, value));
        assert_eq!(all.ended(1).await.code(), Some(1));
        assert!(all.log(1).contains(&format!("{key} {value}: ")), "{}", all.log(1));
    }
}
