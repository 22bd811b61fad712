//! `join`: one more controller, by a token.
//!
//! The key is on the disk before it is shown to anybody, and the controller's file is written last:
//! wherever it breaks off, the same command goes on, and is told the same number.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use portcullis::env::Env;
use portcullis::join::client::{self, Failure as NotJoined};
use portcullis::join::token::TOKEN_MAX;
use portcullis::join::{Asked, Granted, Key, Refused, Token, key_statement};
use portcullis::tls::{self, KeyKind, OwnKey};
use portcullis::tokio_env::{Ports, Tokio};
use portcullis_core::members::READS;
use portcullis_core::{Address, Time};
use rustls::ClientConfig;
use tracing::info;

use super::exit::{Exit, Failure};
use super::made::{self, Made, Place};
use super::run;

mod folder;

use folder::Folder;

/// Longest time for one try at one address: a controller waits up to ten seconds for the leader,
/// and as long for the log.
const TRY_WITHIN: Duration = Duration::from_secs(25);
/// Wait after every address was tried.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// What `portcullis cluster add` printed; `-`: the first line of standard input
    #[arg(value_name = "TOKEN")]
    token: String,
    /// Folder for everything that the controller has; it must be empty, or of a join by the same
    /// token that broke off
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// What this controller shares the fate of, such as an availability zone
    #[arg(long, value_name = "NAME", default_value = "")]
    domain: String,
    /// Longest time to try
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = humantime::parse_duration
    )]
    within: Duration,
    /// Run the controller at once
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    place: Place,
}

/// Joins, or goes on with a join that broke off, or says that it is done.
pub fn join(arguments: &Arguments) -> Result<(), Failure> {
    arguments.place.check()?;
    let token: Token = said(&arguments.token)?.parse().map_err(Failure::wrong)?;
    let folder = Folder::open(&arguments.data_dir, &token)?;
    let (file, start) = made::start_line(folder.path());
    match folder.joined()? {
        Some(node) => println!("controller-{node} has joined already"),
        None => {
            let key = folder.key()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Failure::wrong)?;
            let asked = runtime.block_on(ask(arguments, &token, &key));
            if let Err(Failure { exit: Exit::Refused, .. }) = &asked {
                folder.forget()?;
            }
            let (granted, place) = asked?;
            let made = Made {
                by: "join",
                id: granted.node,
                cluster: &token.cluster,
                joined: true,
                domain: &arguments.domain,
                place: &place,
                peers: &granted.peers,
                shared: &granted.shared,
            };
            folder.write(&granted, &made)?;
            println!("joined as controller-{} of cluster {}", granted.node, token.cluster);
        }
    }
    drop(folder);
    match arguments.run {
        true => run::run(&run::Arguments::of(file)),
        false => {
            println!("start it: {start}");
            Ok(())
        }
    }
}

/// The token, or what standard input says.
fn said(token: &str) -> Result<String, Failure> {
    if token != "-" {
        return Ok(token.to_owned());
    }
    let mut line = String::new();
    let most = TOKEN_MAX as u64 + 1;
    let mut input = io::BufReader::new(io::Read::take(io::stdin().lock(), most));
    io::BufRead::read_line(&mut input, &mut line).map_err(Failure::wrong)?;
    Ok(line)
}

/// What came of the last try at each address.
#[derive(Default)]
struct Tried {
    said: Vec<(String, String)>,
    /// Whether any may have done it without a word.
    unknown: bool,
    /// Whether any said to come back.
    overloaded: bool,
    /// Whether all that answered belong to somebody else.
    strangers: bool,
}

/// Asks one address after the other until one lets this controller in, says no for good, or time
/// is up. Says where this controller is, as it was asked for.
async fn ask(
    arguments: &Arguments,
    token: &Token,
    key: &OwnKey,
) -> Result<(Granted, Place), Failure> {
    let env = Tokio::start(PathBuf::new(), Ports::Own).map_err(Failure::wrong)?;
    let until = env.now() + arguments.within;
    let tls = tls::pinned_client(token.authority).map_err(Failure::wrong)?;
    let mut unknown = false;
    loop {
        let mut tried = Tried { unknown, strangers: true, ..Tried::default() };
        for address in &token.addresses {
            let asking = Asking { env: &env, tls: &tls, arguments, token, key };
            match asking.one(address, until).await {
                Ok(joined) => return Ok(joined),
                Err(NotJoined::Refused(refused)) if !refused.passes() => {
                    return Err(Failure::new(Exit::Refused, format!("{address}: {refused}")));
                }
                Err(failure) => tried.note(address, &failure),
            }
        }
        unknown = tried.unknown;
        if tried.strangers || env.now() + AGAIN >= until {
            return Err(tried.failure());
        }
        env.sleep_until(env.now() + AGAIN).await;
    }
}

struct Asking<'a> {
    env: &'a Tokio,
    tls: &'a Arc<ClientConfig>,
    arguments: &'a Arguments,
    token: &'a Token,
    key: &'a OwnKey,
}

impl Asking<'_> {
    async fn one(&self, address: &str, until: Time) -> Result<(Granted, Place), NotJoined> {
        let lost = |what: String| NotJoined::Lost(what);
        let until = until.min(self.env.now() + TRY_WITHIN);
        let to = Address::new(address);
        let dialled = tokio::select! {
            biased;
            dialled = self.env.connect(&to) => dialled,
            () = self.env.sleep_until(until) => Err(io::ErrorKind::TimedOut.into()),
        };
        let stream = dialled.map_err(NotJoined::Unproved)?;
        // Whoever names no address is where it is seen from.
        let ends = self.env.ends(&stream);
        let ends = ends.ok_or_else(|| lost("a connection without ends".into()))?;
        let place = self.arguments.place.or(ends.to.ip());
        let asked = self.asked(&place).map_err(|error| lost(error.to_string()))?;
        tokio::select! {
            biased;
            granted = client::ask(self.env, self.tls, stream, &asked) => {
                granted.map(|granted| (granted, place))
            }
            () = self.env.sleep_until(until) => Err(lost("nothing came in time".into())),
        }
    }

    fn asked(&self, place: &Place) -> Result<Asked, tls::Error> {
        let (secret, public) = (self.token.secret, self.key.public());
        Ok(Asked {
            cluster: self.token.cluster.clone(),
            secret: secret.to_vec(),
            key: Key {
                ed25519: public.kind() == KeyKind::Ed25519,
                public: public.bytes().to_vec(),
                proof: self.key.sign(&key_statement(&secret))?,
            },
            controller_address: place.controller_address(),
            api_addresses: place.api_addresses(),
            domain: self.arguments.domain.clone(),
            reads: READS,
        })
    }
}

impl Tried {
    fn note(&mut self, address: &str, failure: &NotJoined) {
        info!(address, "not joined yet: {failure}");
        self.said.push((address.to_owned(), failure.to_string()));
        match failure {
            NotJoined::Unproved(error) => self.strangers &= tls::mistrust(error).is_some(),
            NotJoined::Lost(_) | NotJoined::Refused(Refused::Unknown) => {
                (self.unknown, self.strangers) = (true, false);
            }
            NotJoined::Refused(Refused::TryAgain { .. }) => {
                (self.overloaded, self.strangers) = (true, false);
            }
            NotJoined::Refused(_) => self.strangers = false,
        }
    }

    fn failure(self) -> Failure {
        let (exit, mut says) = match self {
            Tried { unknown: true, .. } => {
                (Exit::Unknown, "it may have joined, or not; the same command finds out:".into())
            }
            Tried { overloaded: true, .. } => {
                (Exit::Overloaded, "it has not joined; the same command goes on later:".into())
            }
            Tried { .. } => {
                let says = "it has not joined, for no controller could be asked that lets it in:";
                (Exit::Unreachable, String::from(says))
            }
        };
        for (address, what) in &self.said {
            write!(says, "\n  {address}: {what}").expect("a string takes whatever is written");
        }
        Failure::new(exit, says)
    }
}
