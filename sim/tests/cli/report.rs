//! Pages for people, written beside what is printed.

use super::{TWO_PHASE, scenarios, sim};

/// A folder, and the name of a file in it that is not there yet.
fn place(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join(name).display().to_string();
    (folder, file)
}

fn page(file: &str) -> String {
    std::fs::read_to_string(file).expect("the page was written")
}

#[test]
fn one_plan_gives_one_report_and_prints_what_it_prints_without() {
    let scenario = scenarios().join(TWO_PHASE).display().to_string();
    let plan = sim(&["plan", &scenario, "--engine", "direct"], "");
    let plan = String::from_utf8(plan.stdout).expect("a plan is text");
    let (folder, file) = place("page.html");
    let plots = folder.path().join("plots").display().to_string();
    let with = ["replay", "-", "--report", &file, "--plots", &plots];
    let printed = sim(&with, &plan).stdout;
    let first = page(&file);
    assert_eq!(sim(&with, &plan).stdout, printed);
    assert!(page(&file) == first, "the same bytes again");
    assert_eq!(sim(&["replay", "-"], &plan).stdout, printed, "no event more, none less");
    let hash = String::from_utf8_lossy(&printed);
    let (_, hash) = hash.trim_end().rsplit_once("hash ").expect("a page ends with its hash");
    assert!(first.contains(&format!("<dd>{hash}</dd>")));
    assert!(first.contains("opens a door of its own first"), "the scenario's why");
    for plot in ["connections", "memory", "latency", "leadership", "doors"] {
        let svg = page(&format!("{plots}/{plot}.svg"));
        assert!(svg.contains("<path") || svg.contains("<rect"), "{plot}");
    }
}

#[test]
fn a_comparison_has_a_report_of_all_its_runs() {
    let (_folder, file) = place("page.html");
    let two = ["compare", "startup/two-phase", "startup/one-door", "--engine", "direct"];
    let output = sim(&[&two[..], &["--report", &file]].concat(), "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, sim(&two, "").stdout);
    let page = page(&file);
    for run in ["startup/two-phase --engine direct", "startup/one-door --engine direct"] {
        assert!(page.contains(&format!("cargo sim run {run} --seed 1")), "{run}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_anything_runs() {
    let scenario = scenarios().join(TWO_PHASE).display().to_string();
    let run = ["run", &scenario, "--engine", "direct", "--report", "/no/such/folder/page.html"];
    let output = sim(&run, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: cannot write /no/such/folder/page.html"), "{said}");
    let (_folder, file) = place("page.html");
    let output = sim(&["run", &scenario, "--report", &file], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("one scenario and one --engine"), "{said}");
}
