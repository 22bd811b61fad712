//! Every mistake that a test of this crate is to catch must be caught by it.
//!
//! One process makes one mistake, so a test program starts itself for each.

use std::process::Command;

use portcullis_core::mistake::Mistake;

/// The variable that names the mistake which the machines of a process make.
const MISTAKE: &str = "PORTCULLIS_MISTAKE";

/// Makes the mistake that this process was started for, if it was.
pub fn choose() {
    if let Ok(name) = std::env::var(MISTAKE) {
        let made = Mistake::named(&name).is_some_and(Mistake::make);
        assert!(made, "{name} is no mistake that can be made");
    }
}

/// Has each mistake of this suite made, and says by which words it was caught.
pub fn all_are_caught(suite: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut survived = Vec::new();
    for mistake in Mistake::ALL {
        let Some((_, test)) = mistake.proof().filter(|(of, _)| *of == suite) else { continue };
        let mut run = Command::new(&program);
        run.args([test, "--exact", "--nocapture"]).env(MISTAKE, mistake.to_string());
        let output = run.output().expect("this program can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        match words(&text).filter(|_| !output.status.success()) {
            Some(words) => println!("{mistake}: {test}: {words}"),
            None => survived.push(format!("{mistake}: {text}")),
        }
    }
    assert!(survived.is_empty(), "not caught:\n{}", survived.join("\n"));
}

/// How a test says that something is wrong; a model that is merely too small says nothing of it.
fn words(text: &str) -> Option<&str> {
    let panic = || text.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    let found = text.lines().find_map(|line| line.split_once("not so: ").map(|(_, words)| words));
    found.or_else(|| panic().filter(|_| !text.contains("model/explore.rs")))
}
