//! Plans that broke something once, each as it was shrunk, with what it was about in its first lines.
//! What they showed is mended, so each must pass.

use std::path::Path;
use std::process::Command;

#[test]
fn what_was_mended_stays_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pinned");
    let files = std::fs::read_dir(&folder).expect("the folder is there");
    let mut files: Vec<_> = files.map(|file| file.expect("it can be read").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let replay =
            Command::new(env!("CARGO_BIN_EXE_portcullis-sim")).arg("replay").arg(&file).output();
        let replay = replay.expect("the program was built");
        let page = String::from_utf8_lossy(&replay.stdout);
        assert!(replay.status.success(), "{}\n{page}", file.display());
    }
}
