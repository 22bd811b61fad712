//! `cluster`: who belongs to it, and who does what in it.

mod add;
mod ask;
mod change;
mod list;
mod recover;
mod renew;

use std::time::Duration;

use clap::{Args, Subcommand};
use portcullis_core::members::WANTED_MAX;

use super::client;
use super::exit::Failure;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    client: client::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// List the controllers: their roles, and whether the leader hears them
    #[command(after_help = LIST_HELP)]
    List {
        /// Print it again whenever it changes, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Print a token by which one more controller can join
    #[command(after_help = add::HELP)]
    Add(add::Arguments),
    /// Remove a controller from the cluster, for ever
    ///
    /// Its vote goes to a stand-by if there is one. It stops with exit code 8 and is refused from
    /// then on, with whatever data it has: to come back it joins anew, under another number. Refused
    /// if those that are left and heard could decide nothing: first remove those that are silent.
    Remove(Node),
    /// Have a controller vote, before others do
    ///
    /// The wish stands until it is taken back: the controller gets the log if it has none, and a vote
    /// in the place of another, wherever it stands. Refused if as many others are to vote as votes
    /// are wanted.
    Promote(Wish),
    /// Have a controller not vote, unless others are too few
    ///
    /// The wish stands until it is taken back: it hands the lead over if it has it, and its vote goes
    /// to another. Refused if there are too few others for the votes that are wanted.
    Demote(Wish),
    /// Have so many controllers vote, and so many more have the log
    #[command(after_help = "Example:\n  portcullis cluster want --voters 5 --stand-bys 1")]
    Want {
        /// Voters, the leader among them: odd
        #[arg(long, value_name = "NUMBER", required_unless_present = "stand_bys",
              value_parser = clap::value_parser!(u8).range(1..=i64::from(WANTED_MAX)))]
        voters: Option<u8>,
        /// Stand-bys, which have the log and no vote
        #[arg(long, value_name = "NUMBER",
              value_parser = clap::value_parser!(u8).range(0..=i64::from(WANTED_MAX)))]
        stand_bys: Option<u8>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Have a voter take the lead
    Lead(Node),
    /// Make one controller all of the cluster, when the majority is gone for good
    ///
    /// Works on the data of a controller that is stopped.
    #[command(after_help = recover::HELP)]
    Recover(recover::Arguments),
    /// Issue a controller another certificate for ten years, with the authority's key
    ///
    /// On the controller's own host, whether it runs or not; it is used from its next start on.
    RenewCertificate(renew::Arguments),
}

const LIST_HELP: &str = "\
Roles:
  leader    decides, with a majority of the voters
  voter     has the log and a vote
  stand-by  has the log, and gets the vote of a voter that is silent or stops
  spare     has no log, and lets no agents in
  removed   is none any more; the leader is about to take its vote or its log";

#[derive(Args)]
struct Node {
    /// The controller's number, as in `portcullis cluster list`
    #[arg(value_parser = number)]
    node: u64,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Args)]
struct Wish {
    #[command(flatten)]
    node: Node,
    /// Take the wish back: whoever has a vote keeps it
    #[arg(long)]
    undo: bool,
}

#[derive(Args)]
struct Wait {
    /// Longest wait until it has come true
    #[arg(
        long = "wait",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    patience: Duration,
    /// Do not wait until it has come true
    #[arg(long, conflicts_with = "patience")]
    no_wait: bool,
}

impl Wait {
    fn patience(&self) -> Option<Duration> {
        (!self.no_wait).then_some(self.patience)
    }
}

/// A controller's number, by itself or behind the names that people see.
fn number(text: &str) -> Result<u64, String> {
    let bare = ["controller-", "machine-"].iter().find_map(|prefix| text.strip_prefix(prefix));
    let wrong = |_| format!("{text:?} is no controller's number, such as 3 or controller-3");
    bare.unwrap_or(text).parse().map_err(wrong)
}

/// Does what is asked about the cluster.
pub fn cluster(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { command, client } = arguments;
    let json = client.json;
    let (change, wait) = match command {
        Command::List { watch } => {
            return client.ask(|asking| list::list(asking, json, *watch));
        }
        Command::Add(arguments) => return client.ask(|asking| add::add(asking, arguments, json)),
        Command::RenewCertificate(arguments) => return renew::renew(arguments),
        Command::Recover(arguments) => return recover::recover(arguments, json),
        Command::Remove(Node { node, wait }) => (change::Change::Remove(*node), wait),
        Command::Promote(Wish { node: Node { node, wait }, undo }) => {
            (change::Change::Promote { node: *node, undo: *undo }, wait)
        }
        Command::Demote(Wish { node: Node { node, wait }, undo }) => {
            (change::Change::Demote { node: *node, undo: *undo }, wait)
        }
        Command::Want { voters, stand_bys, wait } => {
            (change::Change::Want { voters: *voters, stand_bys: *stand_bys }, wait)
        }
        Command::Lead(Node { node, wait }) => (change::Change::Lead(*node), wait),
    };
    client.ask(|asking| change::change(asking, change, wait.patience(), json))
}
