//! What the command line says and how it exits, driven as people drive it.

#[path = "cli/hunt.rs"]
mod hunt;
#[path = "cli/report.rs"]
mod report;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn sim(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis-sim"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut stdin = child.stdin.take().expect("it was piped");
    // A program that refuses its arguments reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it was started")
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// A scenario of the repository with one text replaced, in a file of its own.
fn changed(name: &str, from: &str, to: &str) -> (tempfile::TempDir, String) {
    let text = std::fs::read_to_string(scenarios().join(name)).expect("the scenario is there");
    assert!(text.contains(from), "{name} does not say {from}");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("changed.toml");
    std::fs::write(&file, text.replacen(from, to, 1)).expect("there is room for a file");
    let file = file.display().to_string();
    (folder, file)
}

/// What is said of a bad scenario, without the folder that it is in.
fn refusal(name: &str, from: &str, to: &str) -> String {
    let (folder, file) = changed(name, from, to);
    let output = sim(&["plan", &file, "--engine", "direct"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "a refusal prints no plan");
    let text = String::from_utf8(output.stderr).expect("the program prints text");
    text.replace(&format!("{}/", folder.path().display()), "")
}

const TWO_PHASE: &str = "startup/two-phase.toml";

#[test]
fn an_unknown_key_is_shown_where_it_stands() {
    let said = refusal(TWO_PHASE, "count = 3\n", "cuont = 3\n");
    assert!(said.starts_with("error: changed.toml:13:1: unknown field `cuont`"), "{said}");
    assert!(said.contains("\n13 | cuont = 3\n   | ^^^^^\n"), "{said}");
}

#[test]
fn a_bad_duration_is_shown_where_it_stands() {
    let said = refusal(TWO_PHASE, "acts = \"20s\"", "acts = \"20 parsecs\"");
    assert!(said.starts_with("error: changed.toml:9:8: no duration such as \"5s\""), "{said}");
    assert!(said.contains("\n  |        ^^^^^^^^^^^^\n"), "{said}");
}

#[test]
fn an_unknown_role_is_shown_where_it_stands() {
    let said = refusal(TWO_PHASE, "node = \"random\"", "node = \"boss\"");
    assert!(said.contains("`boss` is nobody: say controller-1, leader"), "{said}");
    assert!(said.contains("^^^^^^"), "{said}");
}

#[test]
fn a_controller_that_is_not_there_is_refused() {
    let said = refusal(TWO_PHASE, "node = \"random\"", "node = \"controller-4\"");
    assert!(said.contains("there is no controller-4"), "{said}");
}

#[test]
fn an_unknown_sight_is_refused_with_those_there_are() {
    let said = refusal(TWO_PHASE, "\"granted\"", "\"grunted\"");
    assert!(said.contains("no sight is called `grunted`: leader_changed, crashed"), "{said}");
}

#[test]
fn a_fault_that_outlasts_the_faults_is_refused() {
    let said = refusal(TWO_PHASE, "for = \"5s\"", "for = \"50s\"");
    assert!(said.contains("the fault lasts beyond `acts`"), "{said}");
}

#[test]
fn a_missing_file_is_a_mistake_of_usage() {
    let output = sim(&["run", "no/such/file.toml"], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: cannot read no/such/file.toml"), "{said}");
}

#[test]
fn an_unknown_command_is_a_mistake_of_usage() {
    assert_eq!(sim(&["dance"], "").status.code(), Some(1));
    assert_eq!(sim(&["--help"], "").status.code(), Some(0));
}

#[test]
fn every_scenario_is_listed_with_what_asks_for_it() {
    let output = sim(&["list"], "");
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["herd/restart-all", "lease/cancel-storm", "negative/no-backoff"] {
        assert!(said.contains(&format!("{name}  on direct, turmoil")), "{said}");
    }
    assert!(said.contains("cargo sim watch NAME"), "{said}");
}

#[test]
fn a_plan_is_the_run_itself() {
    let scenario = scenarios().join(TWO_PHASE).display().to_string();
    let which = ["--engine", "direct", "--seed", "3"];
    let plan = sim(&[&["plan", &scenario], &which[..]].concat(), "");
    let plan = String::from_utf8(plan.stdout).expect("a plan is text");
    let replayed = sim(&["replay", "-"], &plan);
    let run = sim(&[&["run", &scenario], &which[..]].concat(), "");
    assert_eq!(String::from_utf8_lossy(&replayed.stdout), String::from_utf8_lossy(&run.stdout));
}

#[test]
fn one_plan_twice_prints_the_same_bytes() {
    let scenario = scenarios().join(TWO_PHASE).display().to_string();
    let output = sim(&["twice", &scenario, "--engine", "direct", "--seeds", "2"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("2 identical, 0 different"), "{said}");
}

/// The exit code and page of a plan on `direct`, drawn from a changed scenario.
fn exit(name: &str, from: &str, to: &str) -> (Option<i32>, String) {
    let (_folder, file) = changed(name, from, to);
    let output = sim(&["run", &file, "--engine", "direct"], "");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_check_that_breaks_exits_two() {
    let breaks = "[expect]\nbreaks = [\"bounded\"]";
    let (code, page) = exit("negative/unbounded-queue.toml", breaks, "[expect]");
    assert_eq!(code, Some(2), "{page}");
    assert!(page.contains("\nverdict broke bounded"), "{page}");
    assert!(page.contains("the last "), "a failure shows its events: {page}");
}

#[test]
fn what_does_not_converge_exits_three() {
    let (code, page) = exit(TWO_PHASE, "settles-within = \"3m\"", "settles-within = \"0s\"");
    assert_eq!(code, Some(3), "{page}");
    assert!(page.contains("\nverdict not settled: connected"), "{page}");
}

#[test]
fn what_must_not_be_seen_exits_two() {
    let seen = "never = [\"granted\"]\nsometimes = [\"granted\"]";
    let (code, page) = exit("startup/one-door.toml", "sometimes = [\"granted\"]", seen);
    assert_eq!(code, Some(2), "{page}");
    assert!(page.contains("\nverdict saw granted"), "{page}");
}

#[test]
fn the_full_size_is_asked_for() {
    let scenario = scenarios().join("lease/load-300x200x3.toml").display().to_string();
    let agents = |more: &[&str]| {
        let plan = sim(&[&["plan", &scenario, "--engine", "direct"], more].concat(), "");
        let plan = String::from_utf8(plan.stdout).expect("a plan is text");
        let count = plan.lines().find(|line| line.starts_with("set agents.count"));
        count.expect("a plan says how many agents there are").to_string()
    };
    assert_eq!(agents(&[]), "set agents.count 18000");
    assert_eq!(agents(&["--full"]), "set agents.count 180000");
    assert_eq!(agents(&["--agents", "90"]), "set agents.count 90");
}

#[test]
fn what_is_never_seen_exits_four() {
    let (code, page) = exit(TWO_PHASE, "\"granted\"", "\"oom_killed\"");
    assert_eq!(code, Some(4), "{page}");
    assert!(page.contains("\nverdict never seen: oom_killed"), "{page}");
}

#[test]
fn a_failed_design_that_is_not_caught_exits_four() {
    let (code, page) = exit("negative/no-backoff.toml", "backoff = false", "backoff = true");
    assert_eq!(code, Some(4), "{page}");
    assert!(page.contains("\nverdict never seen: gentle"), "{page}");
}

/// The page of a failed design whose plan has some settings changed.
fn mended(name: &str, changes: &[(&str, &str)]) -> String {
    let file = scenarios().join(name).display().to_string();
    let plan = sim(&["plan", &file, "--engine", "direct"], "");
    let mut plan = String::from_utf8(plan.stdout).expect("a plan is text");
    for (from, to) in changes {
        assert!(plan.contains(from), "{name} does not say {from}");
        plan = plan.replace(from, to);
    }
    String::from_utf8_lossy(&sim(&["replay", "-"], &plan).stdout).into_owned()
}

/// Each failed design breaks its check, and with nothing changed but the one knob it does not: so
/// the knob is to blame, and neither the load nor the other mistakes of the old way.
#[test]
fn a_knob_alone_is_to_blame() {
    let api = "set controllers.features [\"raft-api-leases\"]";
    let cases = [
        ("negative/no-backoff", "set policy.backoff false", "gentle"),
        ("negative/unbounded-queue", "set policy.bounded-queue false", "bounded"),
        ("negative/never-batches", "set policy.batches false", "batched"),
        ("negative/extend-deadline", "set policy.extend-deadline false", "kept"),
        ("negative/denied-maybe-applied", "set policy.definite-denials false", "linearizable"),
        ("negative/hot-retry", "set policy.retry-budget false", "retries"),
        ("negative/counts-from-the-answer", "set policy.counts-from-asking false", "one_worker"),
        ("negative/unfenced-writes", "set policy.fenced false", "one_worker"),
        ("negative/alone-when-blind", "set policy.majorities false", "quorum_kept"),
        ("negative/alone-when-blind", "set policy.majorities false", "one_holder"),
    ];
    for (name, knob, check) in cases {
        let page = mended(&format!("{name}.toml"), &[(knob, &knob.replace("false", "true"))]);
        assert!(page.contains(&format!("\n  {check:<22}held\n")), "{name}\n{page}");
    }
    // The old way as a whole: its knobs say nothing of ours.
    let old = "set controllers.features []";
    let knobs = ["set policy.retry-budget false", "set policy.definite-denials false"];
    let whole = knobs.map(|knob| knob.replace("false", "true"));
    let changes = [(old, api), (knobs[0], &whole[0]), (knobs[1], &whole[1])];
    let page = mended("negative/pubsub-transport.toml", &changes);
    for check in ["bounded", "one_answer", "clock_moves", "linearizable", "timely"] {
        assert!(page.contains(&format!("\n  {check:<22}held\n")), "{page}");
    }
}

#[test]
fn a_knob_that_turns_nothing_is_refused() {
    let text = "retry-budget = false";
    let knob = format!("our-transport = true\n{text}");
    let said = refusal("negative/extend-deadline.toml", "our-transport = false", &knob);
    assert!(said.contains("this knob needs `our-transport = false`"), "{said}");
    assert!(said.contains("[policy]"), "{said}");
    let engines = "engines = [\"direct\", \"turmoil\"]";
    let said = refusal("negative/alone-when-blind.toml", "engines = [\"direct\"]", engines);
    assert!(said.contains("`counts-from-asking` and `majorities` are knobs of `direct`"), "{said}");
    let said = refusal("negative/hot-retry.toml", "engines = [\"direct\"]", engines);
    assert!(said.contains("`direct` alone knows the old way for leases"), "{said}");
}

#[test]
fn workers_and_pauses_that_an_engine_cannot_have_are_refused() {
    let paused = "ha/singular-paused.toml";
    let engines = "engines = [\"direct\", \"turmoil\"]";
    let said = refusal(paused, "engines = [\"direct\", \"madsim\"]", engines);
    assert!(said.contains("`turmoil` cannot pause a process"), "{said}");
    let said = refusal(paused, "workers = 2", "workers = 0");
    assert!(said.contains("without a worker there is nothing to be responsible for"), "{said}");
    let said = refusal(paused, "workers = 2", "stop-within = \"60s\"");
    assert!(said.contains("the time to stop in must be below the lease's duration"), "{said}");
    let fails_over = "ha/singular-fails-over.toml";
    let said = refusal(fails_over, "workers = 2", "duration = \"50s\"");
    assert!(said.contains("`direct` alone has another `duration`"), "{said}");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The example of a controller's file, with one text replaced, and what it names beside it.
fn controller_file(from: &str, to: &str) -> (tempfile::TempDir, String) {
    let example = scenarios().join("../prod/src/config/example.toml");
    let text = std::fs::read_to_string(example).expect("the example is there");
    assert!(text.contains(from), "the example does not say {from}");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        std::fs::write(folder.path().join(name), "").expect("it can be written");
    }
    let file = folder.path().join("controller.toml");
    std::fs::write(&file, text.replace(from, to)).expect("it can be written");
    (folder, file.display().to_string())
}

#[test]
fn a_story_is_told_with_the_settings_of_real_controllers() {
    let (_folder, file) = controller_file("connections-max = 100000", "connections-max = 4321");
    let plan = |more: &[&str]| {
        let plan = ["plan", "herd/restart-one", "--engine", "direct", "--agents", "900"];
        text(&sim(&[&plan[..], more].concat(), ""))
    };
    let (before, after) = (plan(&[]), plan(&["--config", &file]));
    for line in ["set controllers.connections-max 4321", "set controllers.count 3"] {
        assert!(after.contains(line), "{after}");
    }
    assert!(!before.contains("connections-max 4321"), "{before}");
    // What the story is about stays.
    for line in before.lines().filter(|line| !line.starts_with("set controllers.")) {
        let balance = line.starts_with("set balance.");
        assert!(balance || after.contains(line), "{line} is gone from\n{after}");
    }
    let (_folder, wrong) = controller_file("connections-max = 100000", "connections-max = 0");
    let output = sim(&["plan", "herd/restart-one", "--config", &wrong], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("connections-max"), "{}", text(&output));
}

#[test]
fn a_new_scenario_runs_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    std::fs::create_dir(folder.path().join("scenarios")).expect("it can be made");
    let there = |arguments: &[&str]| {
        let mut sim = Command::new(env!("CARGO_BIN_EXE_portcullis-sim"));
        sim.args(arguments).current_dir(folder.path()).output().expect("it starts")
    };
    let output = there(&["new", "mine/first-story"]);
    assert!(text(&output).contains("run it: cargo sim run mine/first-story"), "{}", text(&output));
    let output = there(&["run", "mine/first-story", "--engine", "direct"]);
    assert!(output.status.success(), "{}", text(&output));
    let output = there(&["new", "mine/first-story"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("File exists"), "{}", text(&output));
    let output = there(&["new", "../out"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("is no name such as mine/first-story"), "{}", text(&output));
}

#[test]
fn the_table_of_sentences_is_what_the_scenarios_say() {
    let table = std::fs::read_to_string(scenarios().join("README.md")).expect("it is there");
    let output = sim(&["list", "--sentences"], "");
    let says = "cargo sim list --sentences > scenarios/README.md";
    assert_eq!(text(&output), table, "write it again: {says}");
}

#[test]
fn the_schema_and_its_page_are_what_scenarios_are_read_by() {
    for (arguments, file) in
        [(&["schema"][..], "schema.json"), (&["schema", "--page"], "FORMAT.md")]
    {
        let written = std::fs::read_to_string(scenarios().join(file)).expect("it is there");
        let says = format!("cargo sim {} > scenarios/{file}", arguments.join(" "));
        assert!(text(&sim(arguments, "")) == written, "write it again: {says}");
    }
}

#[test]
fn a_key_can_be_set_otherwise_and_says_so() {
    let again = ["plan", "startup/dual", "--engine", "direct", "--set", "agents.renew=7s"];
    let plan = text(&sim(&again, ""));
    assert!(plan.contains("set agents.renew \"7s\"\n"), "{plan}");
    assert!(plan.contains("set instead [\"agents.renew=7s\"]\n"), "{plan}");
    for (set, says) in [
        ("agents.renew", "`agents.renew` is no KEY=VALUE such as agents.count=5"),
        ("agents.renew=soon", "no duration such as \"5s\""),
        ("agents.renews=7s", "unknown field `renews`"),
        ("title.renew=7s", "`title` of `title.renew=7s` is no table"),
    ] {
        let output = sim(&["run", "startup/dual", "--engine", "direct", "--set", set], "");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn one_scenario_is_compared_with_itself_under_other_settings() {
    let arguments = ["compare", "startup/dual", "--engine", "direct", "--with", "agents.count=9"];
    let page = text(&sim(&arguments, ""));
    let heads: Vec<&str> = page.lines().take(3).map(str::trim).collect();
    let [names, instead, runs] = heads[..] else { panic!("{page}") };
    assert_eq!(names.split_whitespace().collect::<Vec<_>>(), ["startup/dual", "startup/dual"]);
    assert_eq!(instead, "agents.count=9");
    assert_eq!(runs.matches("direct, seed 1").count(), 2);
}
