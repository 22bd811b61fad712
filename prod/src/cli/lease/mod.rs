//! `lease`: claim, extend, give up, hold and list leases.

mod hold;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};
use portcullis::api::{LeaseItem, Named, Outcome};
use portcullis::client::wire;
use portcullis::env::Env;
use portcullis_core::backoff::{self, Backoff};
use portcullis_core::controller::Request;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Done, Key, Operation, Refusal};
use portcullis_core::queue::Answer;

use super::client::{self, Asking};
use super::exit::{Exit, Failure};

/// Waits between two tries.
const AGAIN: backoff::Config = backoff::Config {
    first: Duration::from_millis(100),
    most: Duration::from_secs(1),
    growth: 200,
};

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    client: client::Arguments,
    /// Kind of lease
    #[arg(long, default_value = APPLICATION_LEADERSHIP, global = true)]
    namespace: String,
    /// UUID of the model that the lease belongs to [default: that of the client file]
    #[arg(long, value_name = "UUID", global = true)]
    model: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Hold a lease, if nobody else does
    ///
    /// By its holder it extends the lease, so a claim can be repeated when its outcome is unknown.
    #[command(after_help = "Example:\n  portcullis lease claim mysql mysql/0 --for 60s")]
    Claim(Holding),
    /// Hold on to a lease; never shortens it
    Extend(Holding),
    /// Give a lease up
    Revoke {
        /// The lease, such as an application
        name: String,
        /// Who holds it, such as a unit
        holder: String,
    },
    /// List the leases that are held
    List,
    /// Run a program only while this process holds a lease
    ///
    /// Waits for the lease, starts the program, and extends the lease until it ends; then gives the
    /// lease up and ends with the program's exit code. When answers stop, the program gets SIGTERM,
    /// then SIGKILL, before the lease can be over by this machine's clock.
    #[command(after_help = HOLD_HELP)]
    Hold(hold::Hold),
    /// Watch over a program that `hold` runs.
    #[command(name = hold::GUARD, hide = true)]
    HoldGuard,
    /// Become the program that `hold` runs.
    #[command(name = hold::STAGE, hide = true)]
    HoldExec {
        /// The process of `hold`
        holder: i32,
        /// The program
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
}

const HOLD_HELP: &str = "\
Examples:
  portcullis lease hold provisioner -- ./provision --all
  portcullis lease hold backup --namespace singular-controller --for 30s --keep -- ./backup.sh

The program finds PORTCULLIS_LEASE, PORTCULLIS_HOLDER and PORTCULLIS_FENCE in its environment. The
fence grows with every holder: whatever the program writes to should refuse a lower one than it has
seen, for no clock protects from a machine that stands still.

The program runs in a process group of its own, which is killed whole when the program has ended;
it is no foreground job of a terminal. SIGTERM, SIGINT and SIGHUP are handed on to it. A guard process
ends the program if this one is killed or stopped; on Linux the program dies with this process too.

Exit codes: the program's own, 128 and the signal that ended it, 127 or 126 if there is no such
program or it cannot be run; 7 if the lease was lost and the program stopped; otherwise as everywhere.";

#[derive(Args)]
struct Holding {
    /// The lease, such as an application
    name: String,
    /// Who is to hold it, such as a unit
    holder: String,
    /// For how long, at least
    #[arg(
        long = "for",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    duration: Duration,
}

/// Does what is asked about leases.
pub fn lease(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Hold(hold) => {
            let key = (arguments.namespace.as_str(), arguments.model.as_deref());
            return hold::hold(hold, &arguments.client, key);
        }
        Command::HoldGuard => return hold::guard(),
        Command::HoldExec { holder, command } => {
            std::process::exit(hold::stage(*holder, command).into())
        }
        Command::Claim(_) | Command::Extend(_) | Command::Revoke { .. } | Command::List => {}
    }
    arguments.client.ask(|asking| async move {
        let key = |lease: &str| {
            let model = arguments.model.as_ref().unwrap_or(&asking.model);
            Key::new(&arguments.namespace, model, lease)
        };
        let operation = match &arguments.command {
            Command::Claim(Holding { name, holder, duration }) => Operation::Claim {
                key: key(name),
                holder: holder.as_str().into(),
                duration: *duration,
            },
            Command::Extend(Holding { name, holder, duration }) => Operation::Extend {
                key: key(name),
                holder: holder.as_str().into(),
                duration: *duration,
            },
            Command::Revoke { name, holder } => {
                Operation::Revoke { key: key(name), holder: holder.as_str().into() }
            }
            Command::List => return list(arguments, &asking).await,
            Command::Hold(_) | Command::HoldGuard | Command::HoldExec { .. } => {
                unreachable!("these ask in their own ways")
            }
        };
        let answer = apply(&asking, &operation).await?;
        report(arguments.client.json, &operation, answer)
    })
}

/// Asks until there is an answer that asking again would not change, or no time for it.
async fn apply(asking: &Asking, operation: &Operation) -> Result<Answer, Failure> {
    let mut backoff = Backoff::new(AGAIN);
    let mut rng = asking.env.seed().child("lease", 0).rng();
    loop {
        // A new connection each time: the controller behind the last one may be what is wrong.
        let (_client, line) = asking.connect().await?;
        let request = Request::Apply(operation.clone());
        let asked = line.ask(&request, asking.patience(), asking.deadline).await;
        let answer = asked.map_err(|error| Failure::new(Exit::Refused, error.message))?;
        let Some(asked) = again(operation, &answer) else { return Ok(answer) };
        let at = asking.env.now() + backoff.wait(asked, &mut rng);
        if at >= asking.deadline {
            return Ok(answer);
        }
        asking.env.sleep_until(at).await;
    }
}

/// How long to wait at least before asking again, if that is of any use.
fn again(operation: &Operation, answer: &Answer) -> Option<Duration> {
    match (answer, operation) {
        (Answer::NotLeader { .. }, _) => Some(Duration::ZERO),
        (Answer::Overloaded { retry_after }, _) => Some(*retry_after),
        // What a holder asks twice is done once, so asking is how to know.
        (
            Answer::Unknown,
            Operation::Claim { .. }
            | Operation::Extend { .. }
            | Operation::Pin { .. }
            | Operation::Unpin { .. },
        ) => Some(Duration::ZERO),
        // The second of two revocations would say that nothing was held.
        (Answer::Unknown, Operation::Revoke { .. }) => None,
        (
            Answer::Done { .. }
            | Answer::Refused { .. }
            | Answer::Released
            | Answer::Expired
            | Answer::Cancelled,
            _,
        ) => None,
    }
}

fn report(json: bool, operation: &Operation, answer: Answer) -> Result<(), Failure> {
    if json {
        println!("{}", as_json(&Outcome::from(answer.clone())));
    }
    let lease = operation.key().lease();
    let (exit, says) = match answer {
        Answer::Done { done, .. } => {
            let says = match (done, operation) {
                (
                    Done::Granted { fence, .. },
                    Operation::Claim { holder, duration, .. }
                    | Operation::Extend { holder, duration, .. },
                ) => {
                    let duration = humantime::format_duration(*duration);
                    format!("{holder} holds {lease} for at least {duration} (fence {fence})")
                }
                (done, _) => format!("{lease} is {done}"),
            };
            if !json {
                println!("{says}");
            }
            return Ok(());
        }
        Answer::Refused { refusal, .. } => (
            Exit::Refused,
            match refusal {
                Refusal::Held { holder, .. } => format!(
                    "{lease} is held by {holder}; `portcullis lease list` says for how long"
                ),
                Refusal::NotHeld => format!("{lease} is not held by that holder; claim it first"),
                Refusal::Full => "the table is full; revoke leases that nobody needs".to_owned(),
                Refusal::Void => "too late: not done, and never will be; ask again".to_owned(),
            },
        ),
        Answer::Overloaded { retry_after } => (
            Exit::Overloaded,
            format!("overloaded: not done; come back in {:.1}s", retry_after.as_secs_f64()),
        ),
        Answer::NotLeader { .. } => {
            (Exit::Unreachable, "no controller leads: not done; see `portcullis status`".to_owned())
        }
        Answer::Expired | Answer::Cancelled | Answer::Released => {
            (Exit::Unreachable, "no answer in time: not done, and never will be".to_owned())
        }
        Answer::Unknown => (
            Exit::Unknown,
            "nobody can say whether it was done; ask again, or see `portcullis lease list`"
                .to_owned(),
        ),
    };
    Err(Failure::new(exit, says))
}

async fn list(arguments: &Arguments, asking: &Asking) -> Result<(), Failure> {
    let (_client, line) = asking.connect().await?;
    let (namespace, model) = (arguments.namespace.as_str(), arguments.model.as_deref());
    let mut after: Option<Named> = None;
    let mut count = 0_usize;
    loop {
        let page = line.leases(Some(namespace), model, after.as_ref(), asking.deadline).await;
        let page = page.map_err(no_answer)?;
        for lease in &page.leases {
            count += 1;
            match arguments.client.json {
                true => println!("{}", as_json(lease)),
                false => println!("{}", shown(lease, page.now)),
            }
        }
        after = page.leases.last().map(|last| last.named.clone());
        if !page.more || after.is_none() {
            break;
        }
    }
    if count == 0 && !arguments.client.json {
        println!("no leases; `portcullis lease claim NAME HOLDER` takes one");
    }
    Ok(())
}

fn shown(lease: &LeaseItem, now: f64) -> String {
    let LeaseItem { named, holder, expiry, fence, .. } = lease;
    let left = (expiry - now).max(0.0);
    let Named { lease, model, .. } = named;
    format!("{lease:<20} {holder:<20} {left:>6.1}s left  fence {fence:<6} model {model}")
}

/// Why a question that changes nothing brought no answer.
pub fn no_answer(failure: wire::Failure) -> Failure {
    match failure {
        wire::Failure::Answered(error) => Failure::new(Exit::Refused, error.message),
        wire::Failure::NotSent | wire::Failure::Unknown => {
            Failure::new(Exit::Unreachable, "the controller gave no answer in time; ask again")
        }
    }
}

/// One line of JSON.
pub fn as_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers can be written")
}
