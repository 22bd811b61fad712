//! Every mistake that core can make on purpose is caught by a check, in a simulation.
//!
//! The table is a snapshot, `snapshots/mistakes/table.snap`, and the last column of the table of
//! checks in the README is written from it: accept a changed one only if you can say why another
//! check, or a later seed, catches what one caught before.

use std::fs;
use std::path::Path;
use std::process::Command;

const SIM: &str = env!("CARGO_BIN_EXE_portcullis-sim");

#[test]
fn every_mistake_is_caught() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&here).expect("there is a README");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let copy = folder.path().join("README.md");
    fs::write(&copy, &readme).expect("there is room for a file");
    let mut validate = Command::new(SIM);
    let output = validate.args(["validate", "--into"]).arg(&copy).output();
    let output = output.expect("the program was built");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{table}{said}");
    let mut settings = insta::Settings::clone_current();
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots/mistakes");
    settings.set_snapshot_path(snapshots);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("table", table));
    let written = fs::read_to_string(&copy).expect("it was written");
    let says = "write it again: cargo sim validate --into sim/README.md";
    assert!(written == readme, "the README says otherwise what each check catches: {says}");
}

#[test]
fn some_mistakes_alone_do_not_say_what_each_check_catches() {
    let output = Command::new(SIM).args(["validate", "late-expiry", "--into", "nowhere"]).output();
    let output = output.expect("the program was built");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn an_unknown_mistake_is_refused_with_those_there_are() {
    let output = Command::new(SIM).args(["validate", "nonsense"]).output();
    let output = output.expect("the program was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("fence-still, claim-takes"), "{said}");
}
