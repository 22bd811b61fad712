//! Looking for seeds that break something, and for the least that still does.

use super::{changed, sim, text};

/// A failed design whose seeds all show it: what `explore` says of it and what `shrink` leaves of it.
const FAILS: &str = "negative/hot-retry.toml";

#[test]
fn exploring_finds_what_breaks_and_goes_on_where_it_was_told_to() {
    let (_folder, file) = changed(FAILS, "breaks = [\"retries\"]", "");
    let first = sim(&["explore", &file, "--seeds", "3"], "");
    assert_eq!(first.status.code(), Some(2), "{}", text(&first));
    assert!(
        text(&first).contains("1 runs, 0 passed, 0 saw too little, 1 failed"),
        "{}",
        text(&first)
    );
    assert!(text(&first).contains("cargo sim shrink"), "{}", text(&first));
    let share = sim(&["explore", &file, "--seeds", "4", "--share", "2/2", "--collect"], "");
    assert!(text(&share).contains("broke batched: 2 seeds, 2, 4"), "{}", text(&share));
}

#[test]
fn a_corpus_says_which_seeds_showed_something_new_and_is_taken_up_again() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let corpus = folder.path().join("corpus").display().to_string();
    let explore = |seeds| {
        let scenario = "startup/lost-itself";
        sim(&["explore", scenario, "--engine", "direct", "--seeds", seeds, "--corpus", &corpus], "")
    };
    let output = explore("2");
    assert!(output.status.success(), "{}", text(&output));
    let kept = std::fs::read_to_string(&corpus).expect("it was written");
    assert!(kept.starts_with("# startup/lost-itself on direct:"), "{kept}");
    assert!(kept.lines().any(|line| line.starts_with("1 ")), "{kept}");
    let seeds = kept.lines().count() - 1;
    // What is in the corpus is run, and nothing twice.
    let again = explore("1");
    assert!(text(&again).contains(&format!("{seeds} runs")), "{kept}\n{}", text(&again));
    let of_another = ["explore", "startup/drain", "--engine", "direct", "--corpus", &corpus];
    let output = sim(&of_another, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("is no corpus of startup/drain on direct"), "{}", text(&output));
}

#[test]
fn shrinking_leaves_what_breaks_the_same_check_and_less_does_not() {
    let (folder, file) = changed(FAILS, "breaks = [\"retries\"]", "");
    let least = folder.path().join("least.plan").display().to_string();
    let output = sim(&["shrink", &file, "--out", &least], "");
    assert!(output.status.success(), "{}", text(&output));
    let plan = std::fs::read_to_string(&least).expect("it was written");
    assert!(plan.starts_with("# breaks batched at "), "{plan}");
    let replay = sim(&["replay", &least], "");
    assert_eq!(replay.status.code(), Some(2), "{}", text(&replay));
    assert!(text(&replay).contains("verdict broke batched"), "{}", text(&replay));
    let steps = |plan: &str| {
        let steps = plan.lines().filter(|line| !line.starts_with("set ") && !line.starts_with('#'));
        steps.map(String::from).collect::<Vec<_>>()
    };
    let before = String::from_utf8_lossy(&sim(&["plan", &file], "").stdout).into_owned();
    assert!(steps(&plan).len() < steps(&before).len() || plan.len() != before.len(), "{plan}");
    // Whatever line is left is needed.
    for step in steps(&plan) {
        let less = plan.replace(&format!("{step}\n"), "");
        assert_eq!(sim(&["replay", "-"], &less).status.code(), Some(0), "{step} is not needed");
    }
}

#[test]
fn what_breaks_nothing_cannot_be_shrunk() {
    let output = sim(&["shrink", "startup/lost-itself", "--engine", "direct"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("this plan breaks no check: passed"), "{}", text(&output));
}
