//! Again: what is to be typed to have a very run once more.

use std::fmt::Write as _;
use std::path::Path;

use super::arguments::Scale;
use crate::scenario;
use crate::settings::Engine;

/// The scenario and the options that one run was drawn by, for `cargo sim run` and `shrink`.
pub fn arguments(file: &Path, engine: Engine, seed: u64, scale: &Scale) -> String {
    let name = scenario::name(file);
    let known = scenario::find(Path::new(&name)) == file;
    let path = if known { name } else { file.display().to_string() };
    let mut text = format!("{} --engine {engine} --seed {seed}", quoted(&path));
    // Writing to a string cannot fail.
    if scale.full {
        text.push_str(" --full");
    }
    if let Some(agents) = scale.agents {
        let _ = write!(text, " --agents {agents}");
    }
    if scale.intensity != 100 {
        let _ = write!(text, " --intensity {}", scale.intensity);
    }
    if let Some(config) = &scale.config {
        let _ = write!(text, " --config {}", quoted(&config.display().to_string()));
    }
    for setting in &scale.set {
        let _ = write!(text, " --set {}", quoted(&setting.to_string()));
    }
    text
}

/// What can be tried with a run that did not pass, by its exit code.
pub fn next(code: u8, again: &str) -> String {
    let mut text = format!("\nagain:  cargo sim run {again}\n");
    text.push_str("        --report run.html draws it, --log info tells it line by line\n");
    match code {
        2 => {
            let _ = writeln!(text, "less:   cargo sim shrink {again}");
        }
        3 => text.push_str("longer: --set settles-within=1h gives it an hour to converge\n"),
        _ => {}
    }
    text
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-=:,+@%".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_set_is_said_again() {
        let set = ["agents.renew=5s", "expect.never=[\"it's\"]"];
        let scale = Scale {
            agents: Some(9),
            full: false,
            intensity: 50,
            config: Some("my settings.toml".into()),
            set: set.map(|text| text.parse().expect("it is a setting")).to_vec(),
        };
        let said = arguments(Path::new("/elsewhere/mine.toml"), Engine::Direct, 7, &scale);
        assert_eq!(
            said,
            "/elsewhere/mine.toml --engine direct --seed 7 --agents 9 --intensity 50 \
             --config 'my settings.toml' --set agents.renew=5s \
             --set 'expect.never=[\"it'\\''s\"]'"
        );
    }
}
