//! What a run prints while it goes on: its log, and what `watch` says where there is no terminal.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A short run that every engine has.
const RUN: [&str; 5] = ["startup/two-phase", "--seed", "1", "--agents", "4"];
const ENGINES: [&str; 3] = ["direct", "turmoil", "madsim"];
/// Where the columns of a line begin: node, level, target, what happened.
const COLUMNS: [usize; 4] = [16, 32, 39, 67];

fn sim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis-sim"));
    // Scenarios are named from the repository's own folder.
    command.current_dir(root()).args(arguments).output().expect("the program was built")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("snapshots/log"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The log of a run on an engine, and its page.
fn logged(engine: &str, filter: &str) -> (String, String) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("run.log").display().to_string();
    let log = ["--engine", engine, "--log", filter, "--log-file", &file];
    let output = sim(&[&["run"], &RUN[..], &log[..]].concat());
    let page = text(&output.stdout);
    assert!(output.status.success(), "{page}{}", text(&output.stderr));
    (std::fs::read_to_string(&file).expect("the log was written"), page)
}

/// The columns of a line: time, node, level, target, what happened.
fn columns(line: &str) -> [String; 5] {
    let letters: Vec<char> = line.chars().collect();
    let starts = [&[0], &COLUMNS[..]].concat();
    let ends = [&COLUMNS[..], &[letters.len()]].concat();
    for start in COLUMNS {
        assert_eq!(letters[start - 2..start], [' ', ' '], "{line}");
        assert_ne!(letters[start], ' ', "{line}");
    }
    let column = |place: usize| -> String {
        letters[starts[place]..ends[place]].iter().collect::<String>().trim().to_string()
    };
    [0, 1, 2, 3, 4].map(column)
}

#[test]
fn phases_of_a_run_are_one_page_on_each_engine() {
    for engine in ENGINES {
        snapshot(&format!("info@{engine}"), &logged(engine, "info").0);
    }
}

#[test]
fn every_line_has_its_columns_and_its_node() {
    for engine in ENGINES {
        let (log, _) = logged(engine, "trace");
        let mut before = String::new();
        let mut speak = BTreeSet::new();
        for line in log.lines() {
            let [at, who, level, target, _] = columns(line);
            let at = format!("{at:>14}");
            assert!(before <= at, "time goes back at {line}");
            before = at;
            assert!(
                ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level.as_str()),
                "{line}"
            );
            if target.starts_with("portcullis::") {
                speak.insert(who);
            }
        }
        // Production says what it does, and each node speaks for itself; direct has none of it.
        let expected = match engine {
            "direct" => BTreeSet::new(),
            _ => ["controller-1", "controller-2", "controller-3"].map(String::from).into(),
        };
        let controllers = |who: &&String| who.starts_with("controller-");
        let heard: BTreeSet<_> = speak.iter().filter(controllers).cloned().collect();
        assert_eq!(heard, expected, "on {engine}");
        assert!(!speak.contains("world"), "on {engine} somebody has no name");
    }
}

#[test]
fn a_filter_lets_through_what_it_names() {
    for engine in ENGINES {
        let (log, _) = logged(engine, "controller-2=debug,agent-1=trace,off");
        let who: BTreeSet<_> = log.lines().map(|line| columns(line)[1].clone()).collect();
        assert_eq!(who, ["agent-1", "controller-2"].map(String::from).into(), "on {engine}");
        let (log, _) = logged(engine, "controller-1/openraft=debug");
        let named = |line: &str| {
            let [_, who, _, target, _] = columns(line);
            who == "controller-1" && target.starts_with("openraft")
        };
        assert!(!log.is_empty() && log.lines().all(named), "on {engine}");
    }
}

#[test]
fn a_log_is_the_same_bytes_twice_and_changes_nothing() {
    for engine in ENGINES {
        let (log, page) = logged(engine, "trace");
        assert_eq!((log, page.clone()), logged(engine, "trace"), "on {engine}");
        // openraft's lines tell the time of day, but that they are printed changes nothing.
        assert_eq!(logged(engine, "openraft=debug").1, page, "on {engine}");
        let quiet = sim(&[&["run"], &RUN[..], &["--engine", engine]].concat());
        assert_eq!(text(&quiet.stdout), page, "on {engine}");
    }
}

#[test]
fn what_raft_says_stands_where_it_was_said_however_many_agents_there_are() {
    // From 5,000 agents on another thread writes the history.
    let many = ["run", "herd/restart-one", "--engine", "direct", "--agents", "5000"];
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("run.log").display().to_string();
    let filter = "world=info,controller=info,openraft=info,off";
    let log = || {
        let output = sim(&[&many[..], &["--log", filter, "--log-file", &file]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let log = std::fs::read_to_string(&file).expect("the log was written");
        log.lines().map(without_the_time_of_day).collect::<Vec<_>>()
    };
    let first = log();
    let at = |line: &String| format!("{:>14}", columns(line)[0]);
    assert!(first.is_sorted_by_key(at), "time goes back");
    let of_raft = |line: &&String| columns(line)[3].starts_with("openraft");
    let (said, told) = first.iter().partition::<Vec<_>, _>(of_raft);
    let (begin, end) = (at(told[0]), at(told[told.len() - 1]));
    let amid = said.iter().map(|line| at(line)).any(|at| begin < at && at < end);
    assert!(amid, "raft says nothing while anything happens");
    for _ in 0..2 {
        assert_eq!(log(), first, "the same lines in the same places");
    }
}

/// A line whose times of day, such as `23:31:25.575348`, are gone: raft tells those.
fn without_the_time_of_day(line: &str) -> String {
    let is_time = |word: &str| word.matches(':').count() == 2 && word.contains('.');
    let words = line.split_inclusive([' ', '@', ',']);
    let digits = |word: &str| word.replace(|letter: char| letter.is_ascii_digit(), "0");
    words.map(|word| if is_time(word) { digits(word) } else { word.to_owned() }).collect()
}

#[test]
fn lines_come_before_the_page_where_no_file_is_named() {
    let direct = [&["run"], &RUN[..], &["--engine", "direct"]].concat();
    let (log, page) = logged("direct", "trace");
    let whole = sim(&[&direct[..], &["--log"]].concat());
    assert_eq!(text(&whole.stdout), format!("{log}{page}"));
}

#[test]
fn what_is_no_filter_is_refused_before_anything_runs() {
    for (filter, why) in [
        ("loud", "`loud` is no level: say off, error, warn, info, debug or trace"),
        ("contoller-2=info", "`contoller-2` is nobody"),
        ("controller-4=info", "--log: there is no controller-4: the last is controller-3"),
        ("agent-4=info", "--log: there is no agent-4: the last is agent-3"),
        ("front=info", "--log: there is no front"),
    ] {
        let direct = ["--engine", "direct", "--log", filter];
        let output = sim(&[&["run"], &RUN[..], &direct[..]].concat());
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let several = sim(&["run", "startup", "--log", "info"]);
    assert!(text(&several.stderr).contains("need one scenario and one --engine"));
    let nowhere = ["--engine", "direct", "--log-file", "/no/such/folder/run.log"];
    let output = sim(&[&["run"], &RUN[..], &nowhere[..]].concat());
    assert!(text(&output.stderr).contains("cannot write /no/such/folder/run.log"));
}

#[test]
fn without_a_terminal_watching_is_a_line_each_second() {
    for engine in ENGINES {
        let watched = sim(&[&["watch"], &RUN[..], &["--engine", engine]].concat());
        let run = sim(&[&["run"], &RUN[..], &["--engine", engine]].concat());
        let (watched, page) = (text(&watched.stdout), text(&run.stdout));
        let lines = watched.strip_suffix(&page).expect("the same page at the end");
        assert!(!lines.contains('\x1b'), "no terminal, no codes");
        snapshot(&format!("watch@{engine}"), lines);
    }
}

#[test]
fn a_plan_can_be_watched_and_a_speed_must_be_one() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("one.plan").display().to_string();
    let plan = sim(&[&["plan"], &RUN[..], &["--engine", "direct"]].concat());
    std::fs::write(&file, &plan.stdout).expect("there is room for a file");
    let of_plan = sim(&["watch", &file, "--speed", "1000x"]);
    let of_scenario = sim(&[&["watch"], &RUN[..], &["--engine", "direct"]].concat());
    assert_eq!(text(&of_plan.stdout), text(&of_scenario.stdout));
    let refused = sim(&["watch", &file, "--speed", "fast"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("`fast` is no speed: say 10x, 0.5x or max"));
}
