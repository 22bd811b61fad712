//! A new scenario, with every part explained where it stands.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::scenario;

/// What a new scenario says. It runs as it is, so that what is changed can be seen.
pub const TEMPLATE: &str = include_str!("new.toml");

/// Writes the file, unless there is one, and says where.
pub fn write(name: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(name);
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &&str| {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        !part.is_empty() && part.chars().all(letter)
    };
    if parts.len() != 2 || !parts.iter().all(plain) {
        bail!(
            "`{name}` is no name such as mine/first-story: a folder below scenarios/ and a story, \
             of letters, digits, - and _"
        );
    }
    let file = scenario::root().join(path).with_extension("toml");
    let folder = file.parent().context("a scenario has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let new = std::fs::OpenOptions::new().write(true).create_new(true).open(&file);
    let written = new.and_then(|mut new| new.write_all(TEMPLATE.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_new_scenario_is_one() {
        let scenario = Scenario::parse("new.toml", TEMPLATE).expect("it can be read");
        assert_eq!((scenario.fault.len(), scenario.workload.len()), (2, 1));
    }
}
