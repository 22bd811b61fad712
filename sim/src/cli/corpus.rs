//! The corpus: a file of the seeds that reached something first, those that reached most before the
//! others. It is written whenever one more did, so that an exploration can be ended at any time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::files;

/// Seeds that reached something first: how many states, and what they saw.
pub type Kept = BTreeMap<u64, (usize, Vec<String>)>;

/// The file of one scenario on one engine, or nothing where none is wanted.
pub struct Corpus {
    file: Option<PathBuf>,
    title: String,
    /// The seeds that it had in the beginning, in its order.
    pub seeds: Vec<u64>,
    /// Lines of those that have not been run since.
    old: BTreeMap<u64, String>,
}

impl Corpus {
    /// Reads the file, if it is there; refuses one of another scenario, and what cannot be written.
    pub fn open(file: Option<&Path>, title: String) -> anyhow::Result<Corpus> {
        let (mut seeds, mut old) = (Vec::new(), BTreeMap::new());
        if let Some(file) = file {
            files::writable(&file.with_extension("new"))?;
            let lines = if file.exists() { read(file, &title)? } else { Vec::new() };
            for (seed, line) in lines {
                seeds.push(seed);
                old.insert(seed, line);
            }
        }
        Ok(Corpus { file: file.map(Path::to_path_buf), title, seeds, old })
    }

    /// Takes note that a seed was run again: what it is worth is known anew.
    pub fn ran(&mut self, seed: u64) {
        self.old.remove(&seed);
    }

    /// Writes a line for each seed that is worth it, and those whose turn has not come as they were.
    pub fn write(&self, kept: &Kept) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut ranked: Vec<_> = kept.iter().collect();
        ranked.sort_by_key(|(seed, (states, sights))| {
            (Reverse(sights.len()), Reverse(*states), **seed)
        });
        let mut text = format!(
            "# {}: a seed, the states that it reached first, what it saw first\n",
            self.title
        );
        for (seed, (states, sights)) in ranked {
            let _ = writeln!(text, "{seed} {states} {}", sights.join(" "));
        }
        for line in self.seeds.iter().filter_map(|seed| self.old.get(seed)) {
            let _ = writeln!(text, "{line}");
        }
        let new = file.with_extension("new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, file));
        written.with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Its seeds, each with its line.
fn read(file: &Path, title: &str) -> anyhow::Result<Vec<(u64, String)>> {
    let text = files::read(file)?;
    let (head, lines) = text.split_once('\n').unwrap_or((&text, ""));
    let of = head.strip_prefix("# ").and_then(|head| head.split_once(':')).map(|(of, _)| of);
    if of != Some(title) {
        bail!("{} is no corpus of {title}", file.display());
    }
    let seed = |(number, line): (usize, &str)| {
        let seed = line.split(' ').next().and_then(|seed| seed.parse().ok());
        let seed = seed.with_context(|| format!("{}:{}: no seed", file.display(), number + 2))?;
        Ok((seed, line.to_string()))
    };
    lines.lines().enumerate().map(seed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_whose_turn_has_not_come_stay() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let file = folder.path().join("corpus");
        let open = || Corpus::open(Some(&file), "story on direct".into()).expect("it is one");
        let best = |states| (states, vec!["moved".to_string()]);
        open().write(&Kept::from([(3, best(9)), (8, best(5)), (5, best(1))])).expect("it is ours");
        let mut corpus = open();
        assert_eq!(corpus.seeds, [3, 8, 5]);
        // One is worth nothing any more, one is, and then the exploration is ended.
        corpus.ran(3);
        corpus.ran(8);
        corpus.write(&Kept::from([(8, best(7))])).expect("it is ours");
        assert_eq!(open().seeds, [8, 5]);
        assert!(Corpus::open(Some(&file), "another on direct".into()).is_err());
    }
}
