//! `portcullis agent`: one agent, for as long as it is wanted.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use portcullis::client::{self, Client, Follows, Standing, remember};
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key};
use portcullis_core::{agent, tracker};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::client::{self as asking, Asking};
use super::exit::{Exit, Failure};

#[derive(Args)]
pub struct Arguments {
    /// The agent's file: addresses, authority, model and its account; its addresses are rewritten
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Account of the file, such as mysql/0 or machine-0 [default: its first]
    #[arg(long = "as", value_name = "NAME")]
    account: Option<String>,
    /// Strive for the leadership of the unit's application, and keep it
    #[arg(long)]
    lead: bool,
    /// Print each change as a JSON object of its own, for machines
    #[arg(long)]
    json: bool,
}

/// Runs one agent until it is told to stop, or a controller says that it may not log in.
pub fn agent(arguments: &Arguments) -> Result<(), Failure> {
    let asking =
        asking::prepare(Some(&arguments.config), arguments.account.as_deref(), Default::default())?;
    let Some(follows) = Follows::of(&asking.pass.tag) else {
        let says = format!("{} is no agent: say --as with a unit or a machine", asking.pass.tag);
        return Err(Failure::wrong(says));
    };
    let tracker = arguments.lead.then(|| leadership(&asking)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::wrong)?;
    runtime.block_on(run(arguments, asking, follows, tracker))
}

/// The lease that a unit of the application strives for.
fn leadership(asking: &Asking) -> Result<tracker::Config, Failure> {
    let unit = asking.pass.tag.strip_prefix("unit-").and_then(|name| name.rsplit_once('-'));
    let Some((application, number)) = unit else {
        return Err(Failure::wrong("only a unit can lead its application: --lead needs one"));
    };
    let key = Key::new(APPLICATION_LEADERSHIP, &asking.model, application);
    Ok(tracker::Config::new(key, format!("{application}/{number}").into()))
}

async fn run(
    arguments: &Arguments,
    asking: Asking,
    follows: Follows,
    tracker: Option<tracker::Config>,
) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(Failure::wrong);
    let mut interrupted = listen(SignalKind::interrupt())?;
    let mut terminated = listen(SignalKind::terminate())?;
    let place = asking.place();
    let config = client::Config {
        agent: agent::Config { tracker, ..agent::Config::default() },
        addresses: asking.addresses,
        tls: asking.tls,
        pass: asking.pass,
        place,
        follows: Some(follows),
    };
    let client = Client::start(&asking.env, config);
    tokio::select! {
        biased;
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
        () = remember::follow(&client, asking.file) => Ok(()),
        refused = show(client.standing(), arguments.json) => refused,
    }
}

/// Prints every change of how the agent stands; ends when it may not log in.
async fn show(mut standing: watch::Receiver<Standing>, as_json: bool) -> Result<(), Failure> {
    let mut shown = Standing::default();
    while standing.changed().await.is_ok() {
        let next = standing.borrow_and_update().clone();
        for (says, object) in changes(&shown, &next) {
            let line = if as_json { object.to_string() } else { says };
            // Whoever wanted to know may have gone; the agent goes on all the same.
            let _ = writeln!(io::stdout(), "{line}");
        }
        if next.refused {
            let trouble = next.trouble.unwrap_or_default();
            return Err(Failure::new(Exit::Refused, format!("the login was {trouble}")));
        }
        shown = next;
    }
    Ok(())
}

/// What has changed, for people and for machines.
fn changes(before: &Standing, after: &Standing) -> Vec<(String, Value)> {
    let mut changes = Vec::new();
    match (before.line.is_some(), after.line.is_some()) {
        (false, true) => changes.push(("connected".into(), json!({ "connected": true }))),
        (true, false) => changes.push(("disconnected".into(), json!({ "connected": false }))),
        (true, true) | (false, false) => {}
    }
    if let Some(trouble) = after.trouble.as_ref().filter(|_| before.trouble != after.trouble) {
        changes.push((format!("no connection: {trouble}"), json!({ "trouble": trouble })));
    }
    if before.leads != after.leads {
        let says = match after.leads {
            Some(fence) => format!("leads, with fence {fence}"),
            None => "leads no more".into(),
        };
        changes.push((says, json!({ "leads": after.leads })));
    }
    if before.addresses != after.addresses {
        let list: Vec<&str> = after.addresses.iter().map(|address| address.as_str()).collect();
        changes.push((format!("controllers at {}", list.join(" ")), json!({ "addresses": list })));
    }
    changes
}
