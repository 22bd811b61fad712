//! What the files of all controllers have in common, and whoever joins is handed.

use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, read};

/// The keys that are the same for every controller: all that do not say where one is, what it is
/// called or which files it has. A moved model is handed on only if it names no file.
const SHARED: &[&str] = &[
    "accept",
    "agent-ratelimit-max",
    "agent-ratelimit-rate",
    "api-port-open-delay",
    "balance",
    "juju-mgmt-space",
    "limits",
    "machine",
    "members",
    "model",
    "moved-model",
    "raft",
    "signed-units",
    "unit",
    "user",
];

/// What a file has of these keys, in TOML; read anew, so that it is as the operator left it.
pub fn shared(file: &Path) -> Result<String, ConfigError> {
    let whole: Table = read(file)?;
    let ours = |(key, _): &(String, Value)| SHARED.contains(&key.as_str());
    let mut shared: Table = whole.into_iter().filter(ours).collect();
    if let Some(Value::Table(members)) = shared.get_mut("members") {
        members.remove("failure-domain");
    }
    if let Some(Value::Array(moved)) = shared.get_mut("moved-model") {
        moved.retain(|model| model.get("ca").is_none());
    }
    Ok(shared.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE;

    /// The keys of one controller alone.
    const OWN: &[&str] = &[
        "api-port",
        "bind-address",
        "controller-api-port",
        "controller-door",
        "controller-id",
        "controller-socket",
        "controller-uuid",
        "controllers-first",
        "data-dir",
        "joined",
        "metrics-address",
        "peer",
        "ports-file",
        "proxy-protocol",
        "tls",
    ];

    #[test]
    fn every_key_is_everybodys_or_ones_own() {
        let key = |line: &str| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            let table = line.strip_prefix('[').map(|line| line.trim_start_matches('['));
            match table {
                Some(table) => table.split(']').next().map(str::to_owned),
                None => line.split_once(" = ").map(|(key, _)| key.to_owned()),
            }
        };
        // Keys of tables are their tables' affair.
        let (top, tables) = EXAMPLE.split_at(EXAMPLE.find("\n[").expect("there are tables"));
        let headers = tables.lines().filter(|line| line.starts_with('['));
        let plain = |key: &String| key.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        for key in top.lines().chain(headers).filter_map(key).filter(plain) {
            let (ours, own) = (SHARED.contains(&&*key), OWN.contains(&&*key));
            assert!(ours != own, "{key} is to be said to be shared, or one's own");
        }
    }

    #[test]
    fn what_is_handed_on_names_no_file_and_no_place() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let file = folder.path().join("controller.toml");
        std::fs::write(&file, EXAMPLE).expect("the folder can be written");
        let text = shared(&file).expect("it is TOML");
        let table: Table = text.parse().expect("it is TOML still");
        assert!(table.contains_key("model") && table.contains_key("user"), "{text}");
        for word in ["ca.pem", "10.0.0.", "failure-domain", "key.pem", "data-dir"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}
