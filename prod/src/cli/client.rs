//! What all client commands share: whom to ask, as whom, for how long, and in what form to answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use portcullis::api::Place;
use portcullis::client::wire::{Line, Pass};
use portcullis::client::{self, Client, remember};
use portcullis::env::Env;
use portcullis::tls::{agent_client, load_certificates};
use portcullis::tokio_env::{Ports, Tokio};
use portcullis_core::dialer::Manner;
use portcullis_core::{Address, Time, agent, backoff, dialer};
use rustls::ClientConfig;

use super::client_file::{self, ClientFile, SignedUnits};
use super::exit::{Exit, Failure};

/// How a person dials: the next address soon, and another round soon.
const GAP: Duration = Duration::from_millis(50);
const DIAL_WITHIN: Duration = Duration::from_secs(5);
const BACKOFF: backoff::Config = backoff::Config {
    first: Duration::from_millis(200),
    most: Duration::from_secs(2),
    growth: 200,
};

#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = "Client")]
pub struct Arguments {
    /// Client file: addresses, authority, model and accounts [default: that of `portcullis dev`]
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CLIENT", global = true)]
    client: Option<PathBuf>,
    /// Account of the client file to log in with, such as mysql/0 [default: its first]
    #[arg(long = "as", value_name = "NAME", global = true)]
    account: Option<String>,
    /// Longest time for everything together
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = humantime::parse_duration,
        global = true
    )]
    within: Duration,
    /// Answer with one JSON object, for machines
    #[arg(long, global = true)]
    pub json: bool,
}

/// Everything it takes to ask.
pub struct Asking {
    pub env: Tokio,
    /// The client file, where the addresses are kept.
    pub file: PathBuf,
    pub addresses: Vec<Address>,
    /// Model of the client file.
    pub model: String,
    pub tls: Arc<ClientConfig>,
    pub pass: Pass,
    /// Units without an account each, if the client file has some.
    pub signed_units: Option<SignedUnits>,
    pub deadline: Time,
}

impl Arguments {
    /// Runs a command that asks controllers.
    pub fn ask<F>(&self, command: impl FnOnce(Asking) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let asking = prepare(self.client.as_deref(), self.account.as_deref(), self.within)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::wrong)?;
        runtime.block_on(command(asking))
    }
}

/// Reads the client file, or that of `dev`, and the account in it that is asked for, or its first.
pub fn prepare(
    file: Option<&Path>,
    account: Option<&str>,
    within: Duration,
) -> Result<Asking, Failure> {
    let file = client_file::named(file)?;
    let client = ClientFile::load(&file)?;
    let wanted = |name: &str| account.is_none_or(|account| account == name);
    let account = client.accounts.iter().find(|account| wanted(&account.name));
    let account = account.ok_or_else(|| {
        let known: Vec<&str> = client.accounts.iter().map(|one| one.name.as_str()).collect();
        Failure::wrong(format!("{}: --as one of {}", file.display(), known.join(", ")))
    })?;
    let authority = load_certificates(&client.ca).map_err(Failure::wrong)?;
    // A client opens no files of its own.
    let env = Tokio::start(PathBuf::new(), Ports::Own).map_err(Failure::wrong)?;
    Ok(Asking {
        deadline: env.now() + within,
        env,
        file,
        addresses: client.addresses.iter().map(|text| Address::new(text)).collect(),
        model: client.model,
        tls: agent_client(&authority).map_err(Failure::wrong)?,
        pass: account.pass()?,
        signed_units: client.signed_units,
    })
}

impl Asking {
    /// How much time is left.
    pub fn patience(&self) -> Duration {
        self.deadline.since(self.env.now())
    }

    /// Where this account logs in: agents belong to a model.
    pub fn place(&self) -> Place {
        match self.pass.tag.starts_with("user-") {
            true => Place::Controller,
            false => Place::Model(self.model.clone()),
        }
    }

    /// A connection to whichever controller lets this account in first, and its owner.
    pub async fn connect(&self) -> Result<(Client, Line), Failure> {
        let config = client::Config {
            agent: agent::Config {
                dialer: dialer::Config {
                    manner: Manner::User,
                    gap: GAP,
                    dial_within: DIAL_WITHIN,
                    backoff: BACKOFF,
                    ..dialer::Config::default()
                },
                ..agent::Config::default()
            },
            addresses: self.addresses.clone(),
            tls: self.tls.clone(),
            pass: self.pass.clone(),
            place: self.place(),
            follows: None,
        };
        let client = Client::start(&self.env, config);
        let mut standing = client.standing();
        let settled = async {
            let settled = standing.wait_for(|standing| standing.line.is_some() || standing.refused);
            settled.await.ok().map(|standing| standing.clone())
        };
        let settled = tokio::select! {
            biased;
            settled = settled => settled,
            () = self.env.sleep_until(self.deadline) => None,
        };
        let settled = settled.unwrap_or_else(|| client.standing().borrow().clone());
        let trouble = settled.trouble.unwrap_or_else(|| "no answer in time".to_owned());
        match settled.line {
            Some(line) => {
                // The file may well be somebody else's: it is good enough as it is.
                if let Err(error) = remember::rewrite(&self.file, &settled.addresses) {
                    tracing::debug!(%error, "addresses not rewritten");
                }
                Ok((client, line))
            }
            None if settled.refused => Err(Failure::new(
                Exit::Refused,
                format!("login as {} {trouble}; see the accounts of --client", self.pass.tag),
            )),
            None => Err(Failure::new(
                Exit::Unreachable,
                format!("no controller could be reached: {trouble}; is `portcullis dev` running?"),
            )),
        }
    }
}
