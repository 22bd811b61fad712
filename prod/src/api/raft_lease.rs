//! `RaftLease` versions 1 and 2: how one of Juju's controllers hands lease operations to another,
//! in anybody's name.
//!
//! Version 1 wraps each command in YAML, version 2 does not. Unlike Juju's, a controller that does
//! not lead hands the commands on itself, and a claim by the holder extends instead of failing, so
//! a command whose answer was lost may be repeated. The clock is our own: `setTime` is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::Request as Wish;
use portcullis_core::lease::{Key, Operation, Refusal};
use portcullis_core::queue::Answer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Handler;
use super::leases::{DURATION_MAX, plain};
use super::session::Caller;
use super::told::{denied, done, results};
use crate::rpc::{self, Error, Request, code, nullable};

/// The one version of commands that Juju ever had.
const COMMAND_VERSION: u64 = 1;

#[derive(Deserialize)]
struct Commands<T> {
    commands: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct Wrapped {
    #[serde(default, deserialize_with = "nullable")]
    command: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Command {
    #[serde(deserialize_with = "nullable")]
    version: u64,
    #[serde(deserialize_with = "nullable")]
    operation: String,
    #[serde(deserialize_with = "nullable")]
    namespace: String,
    #[serde(deserialize_with = "nullable")]
    model_uuid: String,
    #[serde(deserialize_with = "nullable")]
    lease: String,
    #[serde(deserialize_with = "nullable")]
    holder: String,
    /// In nanoseconds.
    #[serde(deserialize_with = "nullable")]
    duration: i64,
    #[serde(deserialize_with = "nullable")]
    pin_entity: String,
}

/// `ApplyLease`: commands, one after the other, each with a result of its own. Once there is no
/// leader, the rest is not tried.
pub(super) async fn apply<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    if !caller.runs_controller {
        return Err(denied());
    }
    let commands: Vec<Result<Command, Error>> = match request.version {
        1 => given(caller, request)?.iter().map(|one: &Wrapped| unwrap(&one.command)).collect(),
        _ => given(caller, request)?.into_iter().map(Ok).collect(),
    };
    let mut applied: Vec<Result<(), Error>> = Vec::new();
    for command in commands {
        let last = applied.last().and_then(|last| last.as_ref().err());
        let result = match last.filter(|error| error.code == code::NOT_LEADER) {
            Some(nobody) => Err(nobody.clone()),
            None => apply_one(caller, command).await,
        };
        applied.push(result);
    }
    Ok(results(&applied))
}

fn given<H: Handler, T: DeserializeOwned>(
    caller: &Caller<'_, H>,
    request: &Request,
) -> Result<Vec<T>, Error> {
    let Commands { commands } = request.given()?;
    let commands = commands.unwrap_or_default();
    caller.bounded(&commands)?;
    Ok(commands)
}

async fn apply_one<H: Handler>(
    caller: &Caller<'_, H>,
    command: Result<Command, Error>,
) -> Result<(), Error> {
    let operation = operation(command?)?;
    let told = |kind: &str, message: &str| {
        let info = Some(json!({ "type": kind }));
        Err(Error { info, ..Error::new(message, code::LEASE) })
    };
    match caller.ask(Wish::Apply(operation), caller.config.patience).await {
        Answer::Refused { refusal: Refusal::Held { .. }, .. } => {
            told("lease-held", "lease already held")
        }
        Answer::Refused { refusal: Refusal::NotHeld, .. } => {
            told("lease-invalid", "invalid lease operation")
        }
        Answer::Unknown => told("lease-timeout", "lease operation timed out"),
        answer => done(answer, code::LEASE_CLAIM_DENIED),
    }
}

fn operation(command: Command) -> Result<Operation, Error> {
    let Command { version, operation, namespace, model_uuid: model, lease, .. } = command;
    let Command { holder, duration, pin_entity: entity, .. } = command;
    if version != COMMAND_VERSION {
        return Err(not_valid(&format!("version {version}")));
    }
    for (what, name) in [("namespace", &namespace), ("model-uuid", &model), ("lease", &lease)] {
        plain(what, name)?;
    }
    let key = Key::new(&namespace, &model, &lease);
    let holds = || plain("holder", &holder);
    let pins = || plain("pin-entity", &entity);
    let lasts = || {
        let duration = u64::try_from(duration).map(Duration::from_nanos).unwrap_or_default();
        let allowed = !duration.is_zero() && duration <= DURATION_MAX;
        allowed.then_some(duration).ok_or_else(|| not_valid("duration"))
    };
    match operation.as_str() {
        "claim" => {
            let duration = holds().and_then(|()| lasts())?;
            Ok(Operation::Claim { key, holder: holder.into(), duration })
        }
        "extend" => {
            let duration = holds().and_then(|()| lasts())?;
            Ok(Operation::Extend { key, holder: holder.into(), duration })
        }
        "revoke" => holds().map(|()| Operation::Revoke { key, holder: (*holder).into() }),
        "pin" => pins().map(|()| Operation::Pin { key, entity: (*entity).into() }),
        "unpin" => pins().map(|()| Operation::Unpin { key, entity: (*entity).into() }),
        other => Err(not_valid(&format!("operation {other:?}"))),
    }
}

fn not_valid(what: &str) -> Error {
    Error::new(format!("{what} not valid"), code::NOT_VALID)
}

/// Reads a command out of YAML.
///
/// Go writes it as `key: value` lines with plain or quoted scalars, so that is all that is read: a
/// whole YAML parser would bring anchors, tags and nesting that no command has.
fn unwrap(yaml: &str) -> Result<Command, Error> {
    let mut members = BTreeMap::new();
    for line in yaml.lines().filter(|line| !line.trim().is_empty()) {
        let read = line.split_once(':').and_then(|(key, value)| Some((key, scalar(value.trim())?)));
        let (key, value) = read.ok_or_else(|| not_valid(&format!("command line {line:?}")))?;
        members.insert(key, value);
    }
    let mut text = |key: &str| members.remove(key).unwrap_or_default().to_owned();
    let version = text("version");
    let lasts = text("duration");
    Ok(Command {
        version: version.parse().map_err(|_| not_valid(&format!("version {version:?}")))?,
        operation: text("operation"),
        namespace: text("namespace"),
        model_uuid: text("model-uuid"),
        lease: text("lease"),
        holder: text("holder"),
        duration: match lasts.as_str() {
            "" => 0,
            lasts => nanoseconds(lasts).ok_or_else(|| not_valid(&format!("duration {lasts:?}")))?,
        },
        pin_entity: text("pin-entity"),
    })
}

/// A scalar without its quotes; nothing if it needs escapes, which no name of ours does.
fn scalar(text: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.strip_suffix(quote).filter(|inner| !inner.contains([quote, '\\']));
        }
    }
    Some(text).filter(|text| !text.starts_with(['&', '*', '!', '|', '>', '{', '[', '#']))
}

/// A duration as Go's YAML writes it, such as `1m0s`, or as a number of nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit: u64 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut nanoseconds = whole.parse::<u64>().ok()?.checked_mul(unit)?;
        let mut place = unit;
        for digit in fraction.chars() {
            place /= 10;
            nanoseconds = nanoseconds.checked_add(u64::from(digit.to_digit(10)?) * place)?;
        }
        total = total.checked_add(nanoseconds)?;
        rest = tail;
    }
    i64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_yaml_is_read_as_go_writes_it() {
        let yaml = "version: 1\noperation: claim\nnamespace: application-leadership\n\
                    model-uuid: deadbeef-0bad\nlease: \"12\"\nholder: mysql/0\nduration: 1m0s\n";
        let read = unwrap(yaml).expect("a command");
        assert_eq!((read.operation.as_str(), read.lease.as_str()), ("claim", "12"));
        assert_eq!((read.holder.as_str(), read.duration), ("mysql/0", 60_000_000_000));
        for (text, nanoseconds) in
            [("1.5s", 1_500_000_000), ("1h0m1s", 3_601_000_000_000), ("250ms", 250_000_000)]
        {
            assert_eq!(super::nanoseconds(text), Some(nanoseconds), "{text}");
        }
        for yaml in ["version: one", "version", "version: &a 1", "version: 1\nduration: 5 years"] {
            assert!(unwrap(yaml).is_err(), "{yaml}");
        }
        assert!(unwrap("version: 1\nduration: 99999999999h").is_err());
        assert!(unwrap("version: 1\nduration: 9.99999999999999999999999s").is_ok());
    }
}
