//! `portcullis lease hold` as a user meets it: real processes that are killed and stopped.
#![cfg(target_os = "linux")]

#[path = "hold/world.rs"]
mod world;

use world::{Cluster, lives, signal};

#[test]
fn whoever_is_killed_takes_its_program_along_and_another_goes_on() {
    let cluster = Cluster::start();
    let mut first = cluster.hold(&["--for", "3s"], "stubborn");
    let (fence, program) = first.runs();
    let mut second = cluster.hold(&["--for", "3s"], "obedient");
    first.signal("KILL");
    let (next, _) = second.runs();
    assert!(next > fence, "{next} after {fence}");
    assert!(!lives(program), "the program outlived the lease");

    // Handed on to the program, which ends by it; the lease is given up at once.
    let mut third = cluster.hold(&["--for", "1h"], "obedient");
    second.signal("TERM");
    assert_eq!(second.ended().code(), Some(143));
    third.runs();
    third.signal("TERM");
    assert_eq!(third.ended().code(), Some(143));
    assert_eq!(cluster.one_at_a_time().len(), 3);
    let list = cluster.ask(&["lease", "list", "--json"]);
    assert!(list.stdout.is_empty(), "{list:?}");
}

#[test]
fn whoever_stands_still_is_stopped_by_its_guard() {
    let cluster = Cluster::start();
    let mut first = cluster.hold(&["--for", "3s", "--keep"], "stubborn");
    let (fence, program) = first.runs();
    let mut second = cluster.hold(&["--for", "3s"], "obedient");
    first.signal("STOP");
    let (next, _) = second.runs();
    assert!(next > fence, "{next} after {fence}");
    assert!(!lives(program), "the program outlived the lease");

    // Awake again, it finds that it has lost the lease, waits for it and goes on.
    first.signal("CONT");
    second.signal("TERM");
    assert_eq!(second.ended().code(), Some(143));
    let (last, _) = first.runs();
    assert!(last > next, "{last} after {next}");

    // Without a guard nothing runs: there is a new one, or none and an end.
    signal("KILL", first.guard());
    assert_eq!(first.runs().0, last, "the lease was held all along");
    first.signal("KILL");
    let mut third = cluster.hold(&["--for", "3s"], "obedient");
    third.runs();
    signal("KILL", third.guard());
    assert_eq!(third.ended().code(), Some(7));
    cluster.one_at_a_time();
}

#[test]
fn a_program_that_does_not_end_when_told_is_killed_and_the_lease_given_up() {
    let cluster = Cluster::start();
    for keep in [&["--for", "3s"][..], &["--for", "3s", "--keep"]] {
        let mut hold = cluster.hold(keep, "stubborn");
        let (_, program) = hold.runs();
        hold.signal("TERM");
        assert_eq!(hold.ended().code(), Some(137));
        assert!(!lives(program), "the program outlived the lease");
        let list = cluster.ask(&["lease", "list", "--json"]);
        assert!(list.stdout.is_empty(), "{list:?}");
    }
}

#[test]
fn a_killed_controller_costs_nobody_the_lease() {
    let mut cluster = Cluster::start();
    let mut first = cluster.hold(&["--for", "30s"], "obedient");
    let (fence, program) = first.runs();
    for controller in 0..3 {
        // One of them is the one that the holder is connected to, and one leads.
        cluster.kill(controller);
        let holder = format!("probe/{controller}");
        let claimed = cluster.ask(&["lease", "claim", &format!("probe{controller}"), &holder]);
        assert!(claimed.status.success(), "{claimed:?}");
    }
    assert!(lives(program));
    let mut second = cluster.hold(&["--for", "30s"], "obedient");
    first.signal("TERM");
    assert_eq!(first.ended().code(), Some(143));
    let (next, _) = second.runs();
    assert_eq!(cluster.one_at_a_time(), [fence, next]);
}

#[test]
fn the_program_says_how_it_ends_and_nonsense_is_refused() {
    let cluster = Cluster::start();
    let hold = ["lease", "hold", "work", "--holder", "me"];
    let shell = |script| cluster.ask(&[&hold[..], &["--", "sh", "-c", script]].concat());
    let told = shell("echo $PORTCULLIS_LEASE $PORTCULLIS_HOLDER $PORTCULLIS_FENCE; cat; exit 3");
    assert_eq!(told.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&told.stdout), "work me 1\n");
    assert_eq!(shell("exit 0").status.code(), Some(0));
    assert_eq!(shell("kill -9 $$").status.code(), Some(137));
    let none = cluster.ask(&[&hold[..], &["--", "/no/such/program"]].concat());
    assert_eq!(none.status.code(), Some(127), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("/no/such/program"), "{none:?}");

    let nonsense: [(&[&str], &str); 8] = [
        (&["hold", "", "--", "true"], "NAME: 1 to 256 bytes"),
        (&["hold", "x", "--holder", "", "--", "true"], "--holder: 1 to 256 bytes"),
        (&["hold", "x", "--for", "999ms", "--", "true"], "--for 999ms: from 1s to 1day"),
        (&["hold", "x", "--for", "2days", "--", "true"], "--for 2days: from 1s to 1day"),
        (&["hold", "x", "--for", "10s", "--stop-within", "6s", "--", "true"], "at most half"),
        (&["hold", "x", "--for", "soon", "--", "true"], "invalid value 'soon'"),
        (&["hold", "x", "--once", "--keep", "--", "true"], "cannot be used with"),
        (&["hold", "x"], "<COMMAND>"),
    ];
    for (words, says) in nonsense {
        let refused = cluster.ask(&[&["lease"], words].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }
}
