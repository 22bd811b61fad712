use super::*;
use crate::check::tests::plan;

/// Every deed of these faults with its time, in milliseconds, under a leader that changes from
/// controller-2 to controller-3 after five seconds.
fn deeds(faults: &str) -> Vec<String> {
    let mut stage = Stage::new(&plan(faults));
    let mut told = Vec::new();
    while let Some(at) = stage.next() {
        let leader = NodeId(if at < Time(5_000_000) { 2 } else { 3 });
        let mut out = Vec::new();
        stage.due(
            at,
            Parts { leader: Some(leader), holder: Some(NodeId(1)), ..Parts::default() },
            &mut out,
        );
        told.extend(out.iter().map(|deed| format!("{} {deed}", at.0 / 1_000)));
    }
    told
}

#[test]
fn the_leader_that_crashed_is_the_one_that_starts_again() {
    let faults = "[[fault]]\nat = \"1s\"\nfor = \"6s\"\ndo = { crash = { node = \"leader\" } }";
    let told = ["1000 crash controller-2", "7000 restart controller-2", "10000 settle"];
    assert_eq!(deeds(faults), told);
}

#[test]
fn a_node_that_is_down_twice_starts_once() {
    let fault = |at, lasts| {
        let node = "{ crash = { node = \"controller-1\" } }";
        format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {node}\n")
    };
    let told = ["1000 crash controller-1", "5000 restart controller-1", "10000 settle"];
    assert_eq!(deeds(&(fault(1, 3) + &fault(2, 3))), told);
}

#[test]
fn what_has_no_end_heals_when_the_faults_end() {
    let one_way = "{ from = \"leader\", to = \"others\", one-way = true }";
    let faults = format!("[[fault]]\nat = \"1s\"\ndo = {{ partition = {one_way} }}");
    let told = [
        "1000 cut controller-2 > controller-1",
        "1000 cut controller-2 > controller-3",
        "10000 mend controller-2 > controller-1",
        "10000 mend controller-2 > controller-3",
        "10000 settle",
    ];
    assert_eq!(deeds(&faults), told);
}

#[test]
fn the_slower_of_two_lines_decides() {
    let fault = |at, lasts, by| {
        let link = "from = \"controller-1\", to = \"agents\"";
        let link = format!("{{ slow-link = {{ {link}, by = \"{by}ms\" }} }}");
        format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {link}\n")
    };
    let told = deeds(&(fault(1, 5, 100) + &fault(2, 2, 300)));
    let out: Vec<_> = told.iter().filter(|line| line.contains("> agents")).collect();
    let expected = [
        "1000 slow controller-1 > agents by 0.100s",
        "2000 slow controller-1 > agents by 0.300s",
        "4000 slow controller-1 > agents by 0.100s",
        "6000 slow controller-1 > agents by 0.000s",
    ];
    assert_eq!(out, expected);
}

#[test]
fn the_disk_that_was_slowed_is_the_one_that_is_as_usual_again() {
    let disk = "{ slow-disk = { node = \"leader\", by = \"500ms\" } }";
    let faults = format!("[[fault]]\nat = \"1s\"\nfor = \"6s\"\ndo = {disk}");
    let told = [
        "1000 slow the disk of controller-2 by 0.500s",
        "7000 slow the disk of controller-2 by 0.000s",
        "10000 settle",
    ];
    assert_eq!(deeds(&faults), told);
}

#[test]
fn the_holder_that_was_paused_is_the_one_that_goes_on() {
    let pause = "{ pause = { node = \"holder\" } }";
    let faults = format!("[[fault]]\nat = \"2s\"\nfor = \"3s\"\ndo = {pause}");
    let told = ["2000 pause controller-1", "5000 resume controller-1", "10000 settle"];
    assert_eq!(deeds(&faults), told);
}

#[test]
fn the_disk_that_was_filled_is_the_one_that_has_room_again() {
    let fault = |at, lasts| {
        let full = "{ disk-full = { node = \"leader\" } }";
        format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {full}\n")
    };
    let once = "[[fault]]\nat = \"4s\"\ndo = { io-error = { node = \"leader\", at = \"sync\" } }\n";
    let told = [
        "1000 fill the disk of controller-2",
        "4000 break the next sync of controller-2",
        "7000 free the disk of controller-2",
        "10000 settle",
    ];
    assert_eq!(deeds(&(fault(1, 3) + &fault(2, 5) + once)), told);
}

#[test]
fn the_line_that_bends_a_clock_most_decides() {
    let fault = |at, lasts, drift, more: &str| {
        let clock = format!("{{ clock = {{ who = \"agents\", drift = {drift}{more} }} }}");
        format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {clock}\n")
    };
    let told = [
        "1000 clock of agents by 100ppm",
        "2000 clock of agents by -300ppm from 60.000s",
        "4000 clock of agents by 100ppm",
        "6000 clock of agents by 0ppm",
        "10000 settle",
    ];
    let faults = fault(1, 5, 100, "") + &fault(2, 2, -300, ", offset = \"1m\"");
    assert_eq!(deeds(&faults), told);
}

#[test]
fn a_redeployment_waits_until_the_one_before_is_back() {
    let redeploy = "{ redeploy = { nodes = \"controller-3 controller-1\", down = \"1s\" } }";
    let faults = format!("[[fault]]\nat = \"1s\"\ndo = {redeploy}");
    let told = |back: Time| {
        let mut stage = Stage::new(&plan(&faults));
        let mut told = Vec::new();
        while let Some(at) = stage.next() {
            let mut parts = Parts::default();
            (1..=3).for_each(|node| parts.serving.set(NodeId(node), true));
            parts.serving.set(NodeId(3), at < Time(1_000_000) || at >= back);
            let mut out = Vec::new();
            stage.due(at, parts, &mut out);
            told.extend(out.iter().map(|deed| format!("{} {deed}", at.0 / 1_000)));
        }
        told
    };
    let expected = [
        "1000 stop controller-3",
        "2000 restart controller-3",
        "4000 stop controller-1",
        "5000 restart controller-1",
        "10000 settle",
    ];
    assert_eq!(told(Time(4_000_000)), expected);
    // One that does not come back keeps the others from having their turns.
    assert_eq!(
        told(Time(u64::MAX)),
        ["1000 stop controller-3", "2000 restart controller-3", "10000 settle"]
    );
}

#[test]
fn a_set_of_controllers_has_those_that_were_put_in() {
    let mut nodes = Nodes::default();
    for node in [1, 7, 128].map(NodeId) {
        nodes.set(node, true);
        assert!(nodes.has(node) && !nodes.has(NodeId(2)), "{node}");
        nodes.set(node, false);
        assert_eq!(nodes, Nodes::default());
    }
    nodes.set(NodeId(129), true);
    assert!(!nodes.has(NodeId(129)));
}
