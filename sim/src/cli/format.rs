//! The page about what a scenario's file may say, written from its schema.
//!
//! Decides in which order tables and words are told, and how a type is called.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema;

const HEAD: &str = "\
# What a scenario may say

Written by `cargo sim schema --page`, from the types that read it. A scenario is a TOML file below this
folder; `cargo sim new mine/first-story` writes one to start from. Editors complete and check it by
[`schema.json`](schema.json), which is what `cargo sim schema` prints: `.taplo.toml` names it for all
files here, and a file elsewhere may in its first line, `#:schema PATH`. Whatever is wrong is refused
with line, column and a caret. `cargo sim plan` prints what a scenario comes to, with all defaults and
drawn times; `--set KEY=VALUE` has any key of a table otherwise for one run.

All time is simulated. Where a sentence begins with *Direct*, that engine alone has it.
";

/// The page while it is written.
struct Page {
    definitions: Map<String, Value>,
    /// What has a section: its heading, by the name of its definition.
    headings: BTreeMap<String, String>,
    /// The definitions that were met, in that order.
    met: Vec<String>,
    text: String,
}

/// The page, in Markdown.
pub fn page() -> String {
    let schema = schema::scenario().to_value();
    // A derived schema of several types has definitions.
    let definitions = schema["definitions"].as_object().cloned().unwrap_or_default();
    let mut page = Page {
        definitions,
        headings: BTreeMap::new(),
        met: Vec::new(),
        text: format!("{HEAD}\n## The file\n"),
    };
    page.keys(&schema, "");
    let mut next = 0;
    while let Some(name) = page.met.get(next).cloned() {
        next += 1;
        let (heading, definition) = (page.headings[&name].clone(), page.definitions[&name].clone());
        let _ = writeln!(page.text, "\n## {heading}\n\n{}", said(&definition));
        page.keys(&definition, heading.trim_matches(['[', ']']));
        page.words(&definition);
    }
    page.text
}

impl Page {
    /// A row for each key of a table.
    fn keys(&mut self, table: &Value, path: &str) {
        let Some(keys) = table["properties"].as_object() else { return };
        self.text += "\n| key | is | default | |\n|---|---|---|---|\n";
        let required = table["required"].as_array().cloned().unwrap_or_default();
        for (key, value) in keys {
            let is = self.kind(value, path, key);
            let default = match value.get("default") {
                _ if required.contains(&Value::from(key.as_str())) => "must be there".into(),
                Some(Value::Object(_)) => String::new(),
                None => "none".into(),
                Some(default) => format!("`{default}`"),
            };
            let _ = writeln!(self.text, "| `{key}` | {is} | {default} | {} |", said(value));
        }
    }

    /// A row for each word that can stand there, with the keys that it takes.
    fn words(&mut self, definition: &Value) {
        if let Some(names) = definition["enum"].as_array() {
            let names: Vec<String> = names.iter().map(word).collect();
            let _ = writeln!(self.text, "\n{}.", names.join(", "));
        }
        let Some(words) = definition["oneOf"].as_array() else { return };
        self.text += "\n| | takes | |\n|---|---|---|\n";
        for value in words {
            let table = value["properties"].as_object().and_then(|one| one.iter().next());
            let (name, takes) = match table {
                Some((name, keys)) => (format!("`{name}`"), self.taken(name, keys)),
                None => (word(&value["const"]), String::new()),
            };
            let _ = writeln!(self.text, "| {name} | {takes} | {} |", said(value));
        }
    }

    /// What a word takes: its keys, or a table that has a section.
    fn taken(&mut self, name: &str, keys: &Value) -> String {
        let Some(table) = keys["properties"].as_object() else { return self.kind(keys, "", name) };
        let key =
            |(key, value): (&String, &Value)| format!("`{key}`: {}", self.kind(value, "", key));
        table.iter().map(key).collect::<Vec<_>>().join(", ")
    }

    /// What a type is called, with a link where it has a section.
    fn kind(&mut self, value: &Value, path: &str, key: &str) -> String {
        let inner = value["allOf"].get(0).or(value["anyOf"].get(0)).unwrap_or(value);
        if let Some(name) = inner["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.link(name, path, &format!("[{key}]"));
        }
        let kind = inner["type"].as_str().or(inner["type"][0].as_str());
        match kind {
            Some("array") => {
                let of = self.list(&inner["items"], path, key);
                format!("list of {of}")
            }
            Some("integer") => "whole number".into(),
            Some("boolean") => "true or false".into(),
            Some("string") => "text".into(),
            other => other.unwrap_or("anything").into(),
        }
    }

    /// What the members of a list are called: a list of tables has two brackets in TOML.
    fn list(&mut self, items: &Value, path: &str, key: &str) -> String {
        match items["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            Some(name) => self.link(name, path, &format!("[[{key}]]")),
            None => self.kind(items, path, key),
        }
    }

    /// A link to the section of a definition, which there is from then on.
    fn link(&mut self, name: &str, path: &str, table: &str) -> String {
        if !self.headings.contains_key(name) {
            let is_table = self.definitions[name].get("properties").is_some();
            let (open, rest) = table.split_at(table.len() - table.trim_start_matches('[').len());
            let heading = match (is_table, path) {
                (true, "") => table.to_string(),
                (true, path) => format!("{open}{path}.{rest}"),
                (false, _) => plain(name),
            };
            self.headings.insert(name.into(), heading);
            self.met.push(name.into());
        }
        let heading = &self.headings[name];
        let anchor: String = heading.to_lowercase().replace(' ', "-");
        let anchor: String = anchor.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect();
        format!("[{}](#{anchor})", heading.trim_matches(['[', ']']))
    }
}

/// The name of a type in words: `ControllerDoor` is a controller door.
fn plain(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// What a schema says of itself, as one line of a table.
fn said(value: &Value) -> String {
    value["description"].as_str().unwrap_or_default().replace("\n\n", " ").replace('|', "\\|")
}

fn word(value: &Value) -> String {
    format!("`{}`", value.as_str().unwrap_or_default())
}
