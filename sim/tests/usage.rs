//! What whoever uses the command line wrongly, or reads what it says, can rely on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis-sim"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn sim(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program was built")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What is said of a mistake of usage: exit code 1, and nothing on standard output.
fn refused(arguments: &[&str]) -> String {
    let output = sim(arguments);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(output.stdout.is_empty(), "{}", text(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room for a folder")
}

fn place(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// What a page says to type for the same run, without the program's name.
fn again(page: &str, word: &str) -> Vec<String> {
    let line = page.lines().find_map(|line| line.trim().strip_prefix(word));
    let line = line.unwrap_or_else(|| panic!("nothing is said of {word}\n{page}"));
    line.split_whitespace().skip(2).map(String::from).collect()
}

/// Breaks `connected` and more: too little room for the agents.
const CROWDED: [&str; 6] =
    ["--engine", "direct", "--agents", "300", "--set", "controllers.connections-max=20"];

#[test]
fn a_setting_out_of_bounds_is_refused_in_a_scenario_and_in_a_plan() {
    let said = refused(&["run", "startup/two-phase", "--set", "agents.renew=7m"]);
    assert!(said.contains("`agents.renew` must be below `claim`"), "{said}");
    let plan = text(&sim(&["plan", "startup/two-phase", "--engine", "direct"]));
    let folder = folder();
    let file = place(&folder, "wrong.plan");
    let at = plan.lines().position(|line| line.starts_with("set controllers.waiting-max"));
    let wrong = plan.replace("set controllers.waiting-max 262144", "set controllers.waiting-max 0");
    std::fs::write(&file, wrong).expect("it can be written");
    let said = refused(&["replay", &file]);
    let line = at.expect("it is said") + 1;
    assert!(said.contains(&format!("wrong.plan:{line}:")), "{said}");
    assert!(said.contains("`controllers.waiting-max` must be 1 to"), "{said}");
}

#[test]
fn a_step_of_a_plan_that_cannot_be_done_is_shown_where_it_stands() {
    let plan = text(&sim(&["plan", "startup/two-phase", "--engine", "direct"]));
    let folder = folder();
    let file = place(&folder, "wrong.plan");
    std::fs::write(&file, plan.replace("crash controller-1", "crash controller-9")).expect("ours");
    let said = refused(&["replay", &file]);
    assert!(
        said.contains(&format!("wrong.plan:{}:1: there is no", plan.lines().count())),
        "{said}"
    );
    std::fs::write(&file, plan.replace("10.705s crash", "20.001s crash")).expect("ours");
    let said = refused(&["replay", &file]);
    assert!(said.contains(":1: it would never come: `acts` is 20.000s"), "{said}");
}

#[test]
fn the_settings_of_controllers_are_asked_about_without_their_keys() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prod/src/config/example.toml");
    let usual = std::fs::read_to_string(example).expect("the example is there");
    let folder = folder();
    let file = place(&folder, "controller.toml");
    let given = usual.replace("heartbeat = \"250ms\"", "heartbeat = \"300ms\"");
    std::fs::write(&file, given).expect("it can be written");
    let plan = ["plan", "herd/restart-one", "--engine", "direct", "--config", &file];
    let output = sim(&plan);
    assert!(output.status.success(), "{}", text(&output));
    // A verdict says nothing of what is not simulated, and nobody is left in the dark about that.
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "not simulated, so as by default: raft.heartbeat\n");
    // The command line has the last word.
    let output = sim(&[&plan[..], &["--set", "balance.moves-rate=9ms"]].concat());
    assert!(text(&output).contains("set balance.moves-rate \"9ms\""), "{}", text(&output));
    let said = refused(&["run", "herd/restart-one", "--config", &place(&folder, "lost.toml")]);
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}

#[test]
fn a_run_that_failed_says_why_and_how_to_have_it_again() {
    let run = sim(&[&["run", "startup/two-phase"], &CROWDED[..]].concat());
    let page = text(&run);
    let end = page.split("\nverdict ").nth(1).expect("it has a verdict");
    assert!(end.contains("\n  connected at 200.000000s: 60 of 300 agents are connected"), "{page}");
    let again = again(&page, "again:");
    assert_eq!(again[..2], ["run", "startup/two-phase"]);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    let same = sim(&again);
    assert_eq!((text(&same), same.status.code()), (page, run.status.code()));
}

#[test]
fn of_many_runs_each_that_failed_can_be_had_again() {
    let folder = folder();
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/startup/two-phase.toml");
    let story = std::fs::read_to_string(story).expect("the scenario is there");
    for name in ["one.toml", "other.toml"] {
        std::fs::write(folder.path().join(name), &story).expect("it can be written");
    }
    let path = folder.path().display().to_string();
    let many = sim(&[&["run", &path], &CROWDED[..]].concat());
    let page = text(&many);
    assert!(page.contains("0 passed, 2 failed"), "{page}");
    let again = again(&page, "again:");
    assert_eq!(again[1], place(&folder, "one.toml"));
    for part in ["--agents", "300", "--set", "controllers.connections-max=20"] {
        assert!(again.iter().any(|word| word == part), "{again:?}");
    }
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    assert_eq!(sim(&again).status.code(), many.status.code());
}

#[test]
fn an_exploration_says_how_to_have_a_failure_again() {
    let seeds = ["explore", "startup/two-phase", "--seeds", "2"];
    let page = text(&sim(&[&seeds[..], &CROWDED[..]].concat()));
    assert!(page.contains("1 of the 2 seeds were not run any more"), "{page}");
    for word in ["again:", "less:"] {
        let again = again(&page, word);
        assert!(again.ends_with(&CROWDED.map(String::from)[2..]), "{page}");
    }
    assert!(page.lines().all(|line| line.len() <= 120), "{page}");
}

#[test]
fn a_failed_design_that_nothing_catches_fails_an_exploration() {
    let explore = ["explore", "negative/no-backoff", "--engine", "direct", "--seeds", "1"];
    let caught = sim(&explore);
    assert_eq!(caught.status.code(), Some(0), "{}", text(&caught));
    let mended = sim(&[&explore[..], &["--set", "policy.backoff=true"]].concat());
    assert_eq!(mended.status.code(), Some(4), "{}", text(&mended));
    assert!(
        text(&mended).contains("gentle must break, and did under no seed"),
        "{}",
        text(&mended)
    );
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_runs() {
    let folder = folder();
    let lost = place(&folder, "lost/file");
    let explore = ["explore", "chaos/quick", "--engine", "direct", "--seeds", "2", "--corpus"];
    let said = refused(&[&explore[..], &[&lost]].concat());
    assert!(said.contains("cannot write"), "{said}");
    let file = place(&folder, "file");
    File::create(&file).expect("it can be written");
    let within = place(&folder, "file/within");
    let keep = ["explore", "chaos/quick", "--engine", "direct", "--keep", &within];
    assert!(refused(&keep).contains("cannot make the folder"));
    let shrink = ["shrink", "startup/two-phase", "--engine", "direct", "--out", &lost];
    assert!(refused(&shrink).contains("cannot write"));
}

/// Where everything is written in vain.
fn full() -> PathBuf {
    PathBuf::from("/dev/full")
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    for arguments in [
        ["run", "startup/lost-itself", "--engine", "direct"],
        ["run", "startup/two-phase", "--agents", "4"],
    ] {
        let to = File::options().write(true).open(full()).expect("Linux has it");
        let output = command(&arguments).stdout(to).output().expect("the program was built");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("No space left on device"), "{}", text(&output));
    }
    let log = full().display().to_string();
    let run = ["run", "startup/lost-itself", "--engine", "direct", "--log-file", &log];
    assert!(text(&sim(&run)).contains("the log ends at 0.000000s"));
}

#[test]
fn a_reader_that_has_had_enough_ends_nothing() {
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    drop(reader);
    let output = command(&["run", "startup/two-phase", "--agents", "4"]).stdout(writer).output();
    let output = output.expect("the program was built");
    assert_eq!((output.status.code(), text(&output)), (Some(0), String::new()));
}

#[test]
fn what_is_meant_is_guessed_where_it_can_be() {
    let said = refused(&["run", "herd/restart-al"]);
    assert!(said.contains("did you mean herd/restart-all?"), "{said}");
    let said = refused(&["run", "nothing/of-that-kind"]);
    assert!(said.contains("`cargo sim list` has all"), "{said}");
    assert!(refused(&["run", "my.plan"]).contains("cargo sim replay my.plan"));
    assert!(refused(&["replay", "my.toml"]).contains("cargo sim run my.toml"));
    let said = refused(&["shrink", "my.plan", "--set", "agents.count=3"]);
    assert!(said.contains("a plan is run as it is written"), "{said}");
    let said = refused(&["run", "startup/two-phase", "--intensity", "50"]);
    assert!(said.contains("--intensity is of faults that a table `[chaos]` draws"), "{said}");
    let said = refused(&["shrink", "startup/two-phase", "--engine", "direct", "--check", "evn"]);
    assert!(said.contains("similar value exists: 'even'"), "{said}");
    let said = refused(&["new", "my own/story"]);
    assert!(said.contains("of letters, digits, - and _"), "{said}");
    assert!(refused(&["explore", "chaos/quick", "--seeds", "1", "--share", "2/2"]).contains("2/2"));
}

#[test]
fn scenarios_are_listed_by_folder_and_compared_at_another_size() {
    let listed = text(&sim(&["list", "lease"]));
    assert!(listed.contains("lease/cancel-storm  on"), "{listed}");
    assert!(!listed.contains("herd/"), "{listed}");
    let compare = ["compare", "startup/two-phase", "--engine", "direct", "--agents", "30"];
    let page = text(&sim(&[&compare[..], &["--with", "agents.arrive=1s"]].concat()));
    assert!(page.contains("agents.arrive=1s"), "{page}");
    assert!(sim(&["run", "--help"]).stdout.windows(13).any(|word| word == b"cargo sim run"));
}
