//! What is wrong with a configuration, and where: file, line, column, key and caret.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// Why there is no configuration. Its text is meant for the operator, as it is.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, is not text, or may not be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    /// The file says something that cannot be: all that is wrong with its meaning, or else the
    /// first thing that is wrong with its form.
    #[error("{}", in_file(file, faults))]
    Wrong { file: PathBuf, faults: Vec<Fault> },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The key, with the tables around it; empty if the text is no TOML at that place.
    pub key: String,
    /// What is wrong with it, and what would be right.
    pub says: String,
    /// The line itself.
    text: String,
    /// How many characters of it are meant.
    width: usize,
}

fn in_file(file: &std::path::Path, faults: &[Fault]) -> String {
    let said: Vec<String> =
        faults.iter().map(|fault| format!("{}:{fault}", file.display())).collect();
    said.join("\n")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { line, column, key, says, text, width } = self;
        write!(f, "{line}:{column}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        let margin = line.to_string().len();
        let carets = "^".repeat(*width);
        writeln!(f, "{says}\n{:margin$} |\n{line} | {text}", "")?;
        write!(f, "{:margin$} | {:before$}{carets}", "", "", before = column - 1)
    }
}

/// A fault of meaning: the place by its keys, such as `peer.1.id`, and what is wrong there.
pub(super) struct Meaning {
    pub path: String,
    pub says: String,
}

/// A text that is TOML, with the places of all its keys.
pub(super) struct Source<'a> {
    text: &'a str,
    root: Spanned<DeValue<'a>>,
}

impl<'a> Source<'a> {
    /// Reads the text; refuses what is no TOML.
    pub fn read(text: &'a str) -> Result<Source<'a>, Fault> {
        match DeTable::parse(text) {
            Ok(table) => {
                let root = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
                Ok(Source { text, root })
            }
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                Err(fault(text, span, String::new(), error.message().to_owned()))
            }
        }
    }

    /// Decodes it; refuses unknown and missing keys and wrong types.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let deserializer = match Deserializer::parse(self.text) {
            Ok(deserializer) => deserializer,
            Err(_) => unreachable!("the text was parsed before"),
        };
        T::deserialize(deserializer).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let key = key_at(&self.root, span.start);
            fault(self.text, span, key, plain(error.message()))
        })
    }

    /// Finds the place of a fault of meaning: its key, or the table that the key is missing from.
    pub fn place(&self, Meaning { path, says }: Meaning) -> Fault {
        let mut here = &self.root;
        for step in path.split('.') {
            let next = match here.get_ref() {
                DeValue::Array(items) => step.parse::<usize>().ok().and_then(|at| items.get(at)),
                DeValue::Table(table) => table.get(step),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => None,
            };
            let Some(next) = next else { break };
            here = next;
        }
        let named = path.split('.').filter(|step| step.parse::<usize>().is_err());
        let key = named.collect::<Vec<_>>().join(".");
        fault(self.text, here.span(), key, says)
    }
}

/// The keys that lead to the place, such as `peer.id`.
fn key_at(value: &Spanned<DeValue<'_>>, place: usize) -> String {
    let mut keys = Vec::new();
    let mut here = value;
    loop {
        here = match here.get_ref() {
            DeValue::Table(table) => {
                let around = |(key, value): &(&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    key.span().contains(&place) || covers(value, place)
                };
                let Some((key, value)) = table.iter().find(around) else { break };
                keys.push(key.get_ref().to_string());
                value
            }
            DeValue::Array(items) => {
                let Some(item) = items.iter().find(|item| covers(item, place)) else { break };
                item
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => break,
        };
    }
    keys.join(".")
}

/// Whether the place is in the value. The span of a table is its header alone, so look inside too.
fn covers(value: &Spanned<DeValue<'_>>, place: usize) -> bool {
    let inside = match value.get_ref() {
        DeValue::Table(table) => {
            table.iter().any(|(key, value)| key.span().contains(&place) || covers(value, place))
        }
        DeValue::Array(items) => items.iter().any(|item| covers(item, place)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    };
    inside || value.span().contains(&place)
}

fn fault(text: &str, span: Range<usize>, key: String, says: String) -> Fault {
    let start = span.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let end = span.end.clamp(start, line_end);
    Fault {
        line: text[..start].matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        key,
        says,
        // A tab is as wide as the terminal likes, and the caret must stand below its character.
        text: text[line_start..line_end].trim_end().replace('\t', " "),
        width: text[start..end].chars().count().max(1),
    }
}

/// Says in the words of the file what serde says in the words of its types.
fn plain(message: &str) -> String {
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    if let Some((unknown, known)) =
        message.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", "))
    {
        let (unknown, known) = (quoted(unknown).concat(), quoted(known));
        let nearest = known.iter().max_by(|one, other| {
            strsim::jaro(one, &unknown).total_cmp(&strsim::jaro(other, &unknown))
        });
        return match nearest {
            Some(key) if strsim::jaro(key, &unknown) > 0.7 => {
                format!("unknown key; did you mean `{key}`?")
            }
            Some(_) | None => format!("unknown key; those known here are {}", known.join(", ")),
        };
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("the key {key} is missing");
    }
    let meant = [
        ("expected u16", "expected a port, 0 to 65535"),
        ("expected u32", "expected a whole number, 0 to 4294967295"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected struct ", "expected a table: "),
    ];
    meant.iter().fold(message.to_owned(), |said, (from, to)| said.replace(from, to))
}
