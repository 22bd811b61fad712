//! `lease hold`: runs a program only while its lease is held.
//!
//! ```text
//!   hold ── Client ──▶ controllers        claims, extends, revokes
//!    │ └── pipe ─────▶ guard              kills the program if `hold` cannot
//!    └──── fork ─────▶ stage ──exec──▶ the program, in a process group of its own
//! ```

mod guard;
mod program;

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use portcullis::api::NAME_MAX;
use portcullis::env::Env;
use portcullis::singular::{Flag, Responsible};
use portcullis_core::agent;
use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Key, Operation};
use portcullis_core::queue::Answer;
use portcullis_core::singular::Config;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use super::super::client::{self, Asking};
use super::super::exit::{Exit, Failure};
use program::{Lease, Program, Times, code};

pub use guard::{COMMAND as GUARD, guard};
pub use program::{STAGE, stage};

/// Shortest and longest lease to hold: the latter is the controllers' own bound.
const DURATION_MIN: Duration = Duration::from_secs(1);
const DURATION_MAX: Duration = Duration::from_secs(86_400);
/// The part of the lease, as one in so many, that is left when the program is killed: a busy machine
/// takes some time over that.
const LEAD: u32 = 20;
/// How long the guard gives the holder, which may be slow, to tell the program to end.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct Hold {
    /// The lease
    name: String,
    /// Who is to hold it [default: who logs in, if an agent; else this host, process and a random
    /// number]
    ///
    /// Two that go by one name are one holder to the controllers, and both would run.
    #[arg(long)]
    holder: Option<String>,
    /// For how long to claim; extended after half of it
    #[arg(
        long = "for",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    duration: Duration,
    /// From SIGTERM to SIGKILL, when the lease may soon be over or this process is told to end
    /// [default: a sixth of --for]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    stop_within: Option<Duration>,
    /// When the lease is lost, claim it again and run the program anew
    #[arg(long)]
    keep: bool,
    /// When the lease is lost, end (the default)
    #[arg(long, conflicts_with = "keep")]
    once: bool,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How the program came to its end.
enum End {
    /// By itself, or by a signal that was handed on.
    Own(ExitStatus),
    /// It was ended, for this reason.
    Lost(&'static str),
}

/// Holds the lease until the program has ended. Never returns if that was not well: the process
/// ends as the program did.
pub fn hold(
    hold: &Hold,
    client: &client::Arguments,
    key: (&str, Option<&str>),
) -> Result<(), Failure> {
    let mut ended = 0;
    client.ask(|asking| {
        let ended = &mut ended;
        async move {
            *ended = run(hold, &asking, key).await?;
            Ok(())
        }
    })?;
    match ended {
        0 => Ok(()),
        code => std::process::exit(code.into()),
    }
}

async fn run(hold: &Hold, asking: &Asking, key: (&str, Option<&str>)) -> Result<u8, Failure> {
    let mut signals = Signals::listen()?;
    let (config, times) = hold.config(asking, key)?;
    let pings = agent::Config {
        // A controller that has gone silent is left for another in time to extend.
        ping_every: hold.duration / 6,
        ping_within: hold.duration / 12,
        ..agent::Config::default()
    };
    let (client, line) = asking.connect_as(pings).await?;
    allowed(asking, &line, &config).await?;
    let lease = Lease { name: hold.name.clone(), holder: (*config.holder).to_owned() };
    let (patience, stop_within) = (config.patience, config.stop_within);
    let responsible = Responsible::start(&asking.env, client, config);
    let end = loop {
        let Some(flag) = raised(asking, &responsible, stop_within, &mut signals).await else {
            break Ok(Exit::Done as u8);
        };
        let mut program = match Program::start(&asking.env, &hold.command, &lease, flag, times) {
            Ok(program) => program,
            Err(failure) => break Err(failure),
        };
        match watch(asking, &responsible, &mut program, flag, &mut signals).await {
            Err(failure) => break Err(failure),
            Ok(End::Own(status)) => break Ok(code(status)),
            Ok(End::Lost(why)) if hold.keep => eprintln!("{why}; claiming {} again", hold.name),
            Ok(End::Lost(why)) => {
                break Err(Failure::new(Exit::Lost, format!("{why}; the program was stopped")));
            }
        }
    };
    let until = asking.env.now() + patience;
    tokio::select! {
        biased;
        () = responsible.release() => {}
        () = asking.env.sleep_until(until) => {
            eprintln!("no answer to giving {} up: it runs out by itself", hold.name);
        }
    }
    end
}

impl Hold {
    /// What to strive for, and how the program is ended; refuses what cannot be.
    fn config(
        &self,
        asking: &Asking,
        (namespace, model): (&str, Option<&str>),
    ) -> Result<(Config, Times), Failure> {
        let holder = self.holder.clone().unwrap_or_else(|| name(asking));
        for (what, text) in [("NAME", &self.name), ("--holder", &holder)] {
            if text.is_empty() || text.len() > NAME_MAX {
                return Err(Failure::wrong(format!("{what}: 1 to {NAME_MAX} bytes")));
            }
        }
        let shown = humantime::format_duration;
        let duration = self.duration;
        if !(DURATION_MIN..=DURATION_MAX).contains(&duration) {
            return Err(Failure::wrong(format!(
                "--for {}: from {} to {}",
                shown(duration),
                shown(DURATION_MIN),
                shown(DURATION_MAX)
            )));
        }
        let (stop_within, lead) = (self.stop_within.unwrap_or(duration / 6), duration / LEAD);
        if stop_within > duration / 2 {
            return Err(Failure::wrong(format!(
                "--stop-within {}: at most half of --for {}, for the lease must be extended before",
                shown(stop_within),
                shown(duration)
            )));
        }
        let model = model.unwrap_or(&asking.model);
        let key = Key::new(namespace, model, self.name.as_str());
        let mut config = Config::new(key, holder.as_str().into(), duration);
        config.stop_within = stop_within + lead;
        config.renew_after = (duration - config.stop_within) / 2;
        if let Some(fault) = config.fault() {
            return Err(Failure::wrong(fault));
        }
        let times = Times { grace: GRACE.min(stop_within / 4), stop_within, lead };
        Ok((config, times))
    }
}

/// A name for this holder: agents may only hold as themselves, everybody else needs one of their own.
fn name(asking: &Asking) -> String {
    let tag = &asking.pass.tag;
    if let Some(unit) = tag.strip_prefix("unit-")
        && let Some((application, number)) = unit.rsplit_once('-')
    {
        return format!("{application}/{number}");
    }
    if !tag.starts_with("user-") {
        return tag.clone();
    }
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let drawn = asking.env.seed().child("holder", 0).0;
    format!("{host}:{}:{drawn:08x}", std::process::id(), drawn = drawn as u32)
}

/// Finds out what asking for ever would not: whether this account may hold the lease at all.
async fn allowed(
    asking: &Asking,
    line: &portcullis::client::wire::Line,
    config: &Config,
) -> Result<(), Failure> {
    let Config { key, holder, .. } = config.clone();
    let mine = format!(
        "{} is held as {holder} already: by a process before this one, or by one \
                        that must not go by the same name",
        key.lease()
    );
    // No lease that is held ends within so short a time, so an extension by it changes nothing.
    let duration = Duration::from_micros(1);
    let extend = Request::Apply(Operation::Extend { key, holder, duration });
    let answer = line.ask(&extend, asking.patience(), asking.deadline).await;
    match answer.map_err(|error| Failure::new(Exit::Refused, error.message))? {
        Answer::Done { done: Done::Granted { .. }, .. } => eprintln!("{mine}"),
        Answer::Done { .. }
        | Answer::Refused { .. }
        | Answer::Released
        | Answer::Overloaded { .. }
        | Answer::NotLeader { .. }
        | Answer::Expired
        | Answer::Cancelled
        | Answer::Unknown => {}
    }
    Ok(())
}

/// Waits for the lease; nothing if this process is told to end before.
///
/// A process that was stopped for long may see a flag that nobody had the time to lower yet.
async fn raised(
    asking: &Asking,
    responsible: &Responsible,
    stop_within: Duration,
    signals: &mut Signals,
) -> Option<Flag> {
    let mut flag = responsible.flag();
    let counts = |flag: Flag| asking.env.now() < flag.until - stop_within;
    tokio::select! {
        biased;
        _ = signals.next() => None,
        raised = flag.wait_for(|flag| flag.is_some_and(counts)) => *raised.ok()?,
    }
}

/// Watches the program until it has ended: by itself, or in time before the lease can be over.
async fn watch(
    asking: &Asking,
    responsible: &Responsible,
    program: &mut Program,
    mut held: Flag,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let mut flag = responsible.flag();
    // When it must have ended, once this process was told to end.
    let mut due = None;
    let why = loop {
        let kill_at = program.kill_at(held);
        let kill_at = due.map_or(kill_at, |due| kill_at.min(due));
        // Time goes first: a process that was stopped for long must not believe what it knew.
        tokio::select! {
            biased;
            () = asking.env.sleep_until(kill_at) => break "the lease may be over",
            status = program.wait() => return status.map(End::Own),
            changed = flag.changed() => match *flag.borrow_and_update() {
                Some(flag) if flag.fence == held.fence && changed.is_ok() => {
                    held = flag;
                    if !program.prolong(held) {
                        break "the guard of the program was killed";
                    }
                }
                Some(_) | None => break "the lease may soon be over, or is lost",
            },
            signal = signals.next() => {
                program.signal(signal);
                if signal == Signal::TERM {
                    due.get_or_insert(program.due());
                }
            }
        }
    };
    program.terminate();
    let kill_at = program.kill_at(held);
    let kill_at = due.map_or(kill_at, |due| kill_at.min(due));
    let status = tokio::select! {
        biased;
        status = program.wait() => status?,
        () = asking.env.sleep_until(kill_at) => {
            program.kill();
            program.wait().await?
        }
    };
    // Told to end, it is not to be started again.
    Ok(if due.is_some() { End::Own(status) } else { End::Lost(why) })
}

/// The signals that are handed on to the program.
struct Signals {
    terminated: unix::Signal,
    interrupted: unix::Signal,
    hung_up: unix::Signal,
}

impl Signals {
    fn listen() -> Result<Signals, Failure> {
        let listen = |kind| unix::signal(kind).map_err(Failure::wrong);
        Ok(Signals {
            terminated: listen(SignalKind::terminate())?,
            interrupted: listen(SignalKind::interrupt())?,
            hung_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminated.recv() => Signal::TERM,
            _ = self.interrupted.recv() => Signal::INT,
            _ = self.hung_up.recv() => Signal::HUP,
        }
    }
}
