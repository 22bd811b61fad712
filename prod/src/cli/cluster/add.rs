//! `cluster add`: a token by which one more controller can join.

use std::time::Duration;

use clap::Args;
use data_encoding::HEXLOWER;
use portcullis::api::{INVITED_FOR_MAX, Invitation, Invitations, Invited};
use portcullis::client::wire::{self, Line};
use portcullis::join::{Token, token};
use portcullis::rpc::code;
use portcullis_core::Time;
use serde_json::{Value, json};

use super::super::client::Asking;
use super::super::drawn::random;
use super::super::exit::{Exit, Failure};
use super::super::lease::as_json;

/// What is said below its help.
pub const HELP: &str = "\
Examples:
  portcullis cluster add --for 10m                then, on the other host:
  portcullis join TOKEN --data-dir DIR --run
  portcullis cluster add --list                   tokens that are not void, by their hashes
  portcullis cluster add --revoke 0a1b2c3d        take one back; a few digits will do

Whoever has the token can join once: hand it over as you would a password. The controllers keep its
hash alone.";

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// How long the token counts, up to a week
    #[arg(
        long = "for",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = lasts,
        conflicts_with_all = ["list", "revoke"]
    )]
    lasts: Duration,
    /// List the tokens that are not void, used ones among them
    #[arg(long, conflicts_with = "revoke")]
    list: bool,
    /// Take back the token whose hash begins so
    #[arg(long, value_name = "HASH")]
    revoke: Option<String>,
}

fn lasts(text: &str) -> Result<Duration, String> {
    let lasts = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match !lasts.is_zero() && lasts <= INVITED_FOR_MAX {
        true => Ok(lasts),
        false => Err(format!("not above zero and at most {INVITED_FOR_MAX:?}")),
    }
}

/// Makes a token, lists them, or takes one back.
pub async fn add(asking: Asking, arguments: &Arguments, json: bool) -> Result<(), Failure> {
    let (_client, line) = asking.connect().await?;
    let until = asking.deadline;
    match &arguments.revoke {
        Some(hash) => {
            call(&line, "Revoke", json!({ "token": hash }), until).await?;
            if !json {
                println!("nobody joins by that token any more");
            }
            Ok(())
        }
        None if arguments.list => list(&line, json, until).await,
        None => invite(&line, arguments.lasts, json, until).await,
    }
}

async fn invite(line: &Line, lasts: Duration, json: bool, until: Time) -> Result<(), Failure> {
    let secret = random();
    let hash = HEXLOWER.encode(&token::hash(&secret).0);
    let params = json!({ "token": hash, "for": lasts.as_secs_f64() });
    let invited = call(line, "Invite", params, until).await?;
    let Invited { cluster, authority, addresses } = understood(invited)?;
    let authority = HEXLOWER.decode(authority.as_bytes()).ok();
    let authority = authority.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let authority = authority.ok_or_else(|| strange("no fingerprint"))?;
    let token = Token { cluster, authority, addresses, secret };
    if json {
        let said = json!({ "token": token.to_string(), "hash": hash, "for": lasts.as_secs_f64() });
        println!("{}", as_json(&said));
    } else {
        println!("{token}");
        eprintln!(
            "It counts once, for {}: portcullis join TOKEN --data-dir DIR --run",
            humantime::format_duration(lasts)
        );
    }
    Ok(())
}

async fn list(line: &Line, json: bool, until: Time) -> Result<(), Failure> {
    let told = call(line, "List", json!({}), until).await?;
    let Invitations { invitations } = understood(told)?;
    if json {
        println!("{}", as_json(&json!({ "invitations": invitations })));
        return Ok(());
    }
    for Invitation { token, age, left, used_by } in invitations {
        let shown = |seconds: f64| humantime::format_duration(Duration::from_secs(seconds as u64));
        let used = match used_by {
            Some(node) => format!("used by controller-{node}"),
            None => "not used".to_owned(),
        };
        let (age, left) = (shown(age), shown(left));
        println!("{}  made {age} ago, void in {left}, {used}", &token[..token.len().min(16)]);
    }
    Ok(())
}

async fn call(line: &Line, method: &str, params: Value, until: Time) -> Result<Value, Failure> {
    let answer = line.call("Invitations", 1, method, params, Some(until)).await;
    answer.map_err(|failure| match failure {
        wire::Failure::Answered(error) => {
            let exit = match error.code.as_str() {
                code::NOT_LEADER => Exit::Unreachable,
                code::DEADLINE => Exit::Unknown,
                code::TRY_AGAIN | code::QUOTA => Exit::Overloaded,
                _ => Exit::Refused,
            };
            Failure::new(exit, error.to_string())
        }
        wire::Failure::NotSent => Failure::new(Exit::Unreachable, "the connection is gone"),
        wire::Failure::Unknown => Failure::new(
            Exit::Unknown,
            "no answer in time: it may have been done; see `portcullis cluster add --list`",
        ),
    })
}

fn understood<T: for<'de> serde::Deserialize<'de>>(told: Value) -> Result<T, Failure> {
    serde_json::from_value(told).map_err(|error| strange(&error.to_string()))
}

fn strange(what: &str) -> Failure {
    Failure::new(Exit::Unknown, format!("the controller's answer makes no sense: {what}"))
}
