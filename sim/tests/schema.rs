//! The JSON schema of scenarios, held against the scenarios that there are.

use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

const SIM: &str = env!("CARGO_BIN_EXE_portcullis-sim");

fn schema() -> Value {
    let output = Command::new(SIM).arg("schema").output().expect("it runs");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// Every file below `scenarios/`.
fn scenarios() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let read = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("it is there");
        entries.map(|entry| entry.expect("it can be read").path()).collect()
    };
    let folders = read(&root).into_iter().filter(|path| path.is_dir());
    folders.flat_map(|folder| read(&folder)).collect()
}

/// Whether a value is what a schema says, as far as this schema says anything.
fn conforms(root: &Value, schema: &Value, value: &Value) -> bool {
    let list = |key: &str| schema[key].as_array().into_iter().flatten();
    let referred = schema["$ref"].as_str().map(|path| {
        let name = path.strip_prefix("#/definitions/").expect("all definitions are at one place");
        conforms(root, &root["definitions"][name], value)
    });
    let fits = |schema: &Value| conforms(root, schema, value);
    let ways = |key: &str| list(key).filter(|schema| fits(schema)).count();
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the schema has a type `{other}` that this test does not know"),
    };
    let typed = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| kind.as_str().is_some_and(is)),
        _ => true,
    };
    let pattern = schema["pattern"].as_str().map(|text| Regex::new(text).expect("it is one"));
    let matches = match (pattern, value) {
        (Some(pattern), Value::String(text)) => pattern.is_match(text),
        _ => true,
    };
    let members =
        value.as_array().into_iter().flatten().enumerate().all(
            |(at, member)| match &schema["items"] {
                Value::Null => true,
                Value::Array(each) => each.get(at).is_some_and(|one| conforms(root, one, member)),
                every => conforms(root, every, member),
            },
        );
    let keys =
        value.as_object().into_iter().flatten().all(|(key, value)| {
            match schema["properties"].get(key) {
                Some(schema) => conforms(root, schema, value),
                None => schema["additionalProperties"] != Value::Bool(false),
            }
        });
    let there = |key: &Value| key.as_str().is_some_and(|key| value.get(key).is_some());
    referred.unwrap_or(true)
        && typed
        && matches
        && members
        && keys
        && (!value.is_object() || list("required").all(there))
        && list("allOf").all(fits)
        && (schema.get("anyOf").is_none() || ways("anyOf") > 0)
        && (schema.get("oneOf").is_none() || ways("oneOf") == 1)
        && (schema.get("enum").is_none() || list("enum").any(|one| one == value))
        && schema.get("const").is_none_or(|one| one == value)
}

#[test]
fn every_scenario_is_one_by_the_schema() {
    let schema = schema();
    let valid = |text: &str| {
        let table: toml::Table = toml::from_str(text).expect("it is TOML");
        conforms(&schema, &schema, &serde_json::to_value(table).expect("it is JSON too"))
    };
    let files = scenarios();
    assert!(files.len() > 40, "only {} scenarios", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        assert!(valid(&text), "{} is none by the schema", file.display());
        for wrong in [
            "[[fault]]\nat = \"1s\"\ndo = \"hurd\"",
            "[[fault]]\nat = \"soon\"\ndo = \"herd\"",
            "[[fault]]\nat = \"1s\"\ndo = { crash = { node = \"nobody\" } }",
            "[[fault]]\nat = \"1s\"",
            "[[workload]]\nat = \"1s\"\ndo = { claims = { count = \"many\" } }",
        ] {
            assert!(!valid(&format!("{text}\n{wrong}\n")), "the schema takes {wrong}");
        }
    }
}

#[test]
fn every_key_says_what_it_is() {
    let schema = schema();
    let definitions = schema["definitions"].as_object().expect("there are some");
    let mut keys = 0;
    for (name, table) in definitions.iter().chain([(&"the file".to_string(), &schema)]) {
        for (key, value) in table["properties"].as_object().into_iter().flatten() {
            assert!(value["description"].is_string(), "`{key}` of {name} says nothing of itself");
            keys += 1;
        }
    }
    assert!(keys > 100, "only {keys} keys");
}
