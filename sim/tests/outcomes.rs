//! Every quick scenario on each of its engines, as a page under `snapshots/`, which mirrors
//! `scenarios/`.
//!
//! Scenarios assert by their checks; the pages are for eyes. Accept a changed one only if you can
//! say why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders of scenarios, each with its test.
const FOLDERS: [&str; 7] = ["balance", "chaos", "ha", "herd", "lease", "negative", "startup"];

const SIM: &str = env!("CARGO_BIN_EXE_portcullis-sim");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of the scenarios below a folder of `scenarios/`.
fn names(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(root().join("scenarios").join(folder)).expect("a folder");
    let files = files.map(|file| file.expect("a folder can be read").path());
    let mut names: Vec<String> = files
        .filter(|file| file.extension().is_some_and(|ending| ending == "toml"))
        .map(|file| file.file_stem().expect("a file has a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).expect("the file is there")
}

/// The engines that a scenario names, if it is quick.
fn engines(folder: &str, name: &str) -> Vec<String> {
    let file = root().join("scenarios").join(folder).join(format!("{name}.toml"));
    let table: toml::Table = text(&file).parse().expect("a scenario is TOML");
    if table.get("quick") == Some(&toml::Value::Boolean(false)) {
        return Vec::new();
    }
    let engines = table["engines"].as_array().expect("engines are a list");
    engines.iter().map(|engine| engine.as_str().expect("engines have names").into()).collect()
}

/// Runs the scenarios of a folder and compares their pages.
fn pages(folder: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in names(folder) {
        for engine in engines(folder, &name) {
            let scenario = root().join("scenarios").join(folder).join(format!("{name}.toml"));
            let mut run = Command::new(SIM);
            run.arg("run").arg(scenario).args(["--engine", &engine]);
            let output = run.output().expect("the program was built");
            let page = String::from_utf8_lossy(&output.stdout).into_owned();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{folder}/{name} on {engine}\n{page}{said}");
            settings.bind(|| insta::assert_snapshot!(format!("{name}@{engine}"), page));
        }
    }
}

#[test]
fn balance() {
    pages("balance");
}

#[test]
fn chaos() {
    pages("chaos");
}

#[test]
fn ha() {
    pages("ha");
}

#[test]
fn startup() {
    pages("startup");
}

#[test]
fn herd() {
    pages("herd");
}

#[test]
fn lease() {
    pages("lease");
}

#[test]
fn negative() {
    pages("negative");
}

/// Runs scenarios beside each other and compares the page with `snapshots/compare/`.
fn stand_beside<const N: usize>(name: &str, files: [&str; N]) -> [PathBuf; N] {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("snapshots").join("compare"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let files = files.map(|file| root().join("scenarios").join(file));
    let output = Command::new(SIM).arg("compare").args(&files).output();
    let output = output.expect("the program was built");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    settings.bind(|| insta::assert_snapshot!(name, page));
    files
}

/// The old way for leases collapses under the load that this project's survives: the same
/// scenario but for the transport, one column each.
#[test]
fn the_old_way_stands_beside_ours() {
    let files = ["negative/pubsub-transport.toml", "lease/api-transport.toml"];
    let files = stand_beside("pubsub-transport", files);
    let load = |file: &PathBuf| {
        let mut table: toml::Table = text(file).parse().expect("a scenario is TOML");
        table["controllers"].as_table_mut().expect("it is one").remove("features");
        ["controllers", "agents", "workload", "acts"].map(|key| table[key].to_string())
    };
    assert_eq!(load(&files[0]), load(&files[1]), "the load is not the same");
}

/// What may be done about a controller that comes back to no connections: the same loss of the same
/// controller under each policy.
#[test]
fn the_policies_stand_beside_each_other() {
    let files = [
        "negative/no-balance.toml",
        "balance/random-refusal.toml",
        "balance/order.toml",
        "balance/shed.toml",
        "balance/front-shed.toml",
        "balance/comes-back.toml",
    ];
    let files = stand_beside("balance", files);
    let load = |file: &PathBuf| {
        let table: toml::Table = text(file).parse().expect("a scenario is TOML");
        ["controllers", "agents", "fault", "acts"].map(|key| table[key].to_string())
    };
    assert!(files.iter().all(|file| load(file) == load(&files[0])), "the load is not the same");
}

#[test]
fn every_folder_has_its_test() {
    let folders = std::fs::read_dir(root().join("scenarios")).expect("scenarios are there");
    let folders = folders.map(|folder| folder.expect("it can be read"));
    let folders: BTreeSet<String> = folders
        .filter(|folder| folder.path().is_dir())
        .map(|folder| folder.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, BTreeSet::from(FOLDERS.map(String::from)));
}

#[test]
fn every_snapshot_belongs_to_a_scenario() {
    let snapshots = root().join("snapshots");
    for folder in FOLDERS {
        let mut known = BTreeSet::new();
        for name in names(folder) {
            let engines = engines(folder, &name);
            known.extend(engines.iter().map(|engine| format!("{name}@{engine}.snap")));
        }
        for file in std::fs::read_dir(snapshots.join(folder)).expect("the folder is mirrored") {
            let file = file.expect("it can be read").file_name().to_string_lossy().into_owned();
            let pending = file.ends_with(".snap.new");
            assert!(pending || known.contains(&file), "nothing makes snapshots/{folder}/{file}");
        }
    }
}
