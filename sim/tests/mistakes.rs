//! Every mistake that core can make on purpose is caught by a check, or by a model of core.
//!
//! The table is a snapshot, `snapshots/mistakes/table.snap`: accept a changed one only if you can
//! say why another check, or a later seed, catches what one caught before.

use std::path::Path;
use std::process::Command;

const SIM: &str = env!("CARGO_BIN_EXE_portcullis-sim");

#[test]
fn every_mistake_is_caught() {
    let output = Command::new(SIM).arg("validate").output().expect("the program was built");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{table}{said}");
    let mut settings = insta::Settings::clone_current();
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots/mistakes");
    settings.set_snapshot_path(snapshots);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("table", table));
}

#[test]
fn an_unknown_mistake_is_refused_with_those_there_are() {
    let output = Command::new(SIM).args(["validate", "nonsense"]).output();
    let output = output.expect("the program was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("fence-still, claim-takes"), "{said}");
}
