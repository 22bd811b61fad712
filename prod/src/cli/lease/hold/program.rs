//! The program that runs while the lease is held: how it is started, watched and ended.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use portcullis::env::Env;
use portcullis::singular::Flag;
use portcullis::tokio_env::{Tokio, uptime};
use portcullis_core::Time;
use rustix::process::{Pid, Signal};

use super::super::super::exit::Failure;
use super::guard::{Guard, Order, signal};

/// The command line of the stage before the program, after `portcullis lease`.
pub const STAGE: &str = "hold-exec";
/// As a shell says that a program was not found, or could not be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
/// As a shell says that a program ended by a signal: this and its number.
const BY_SIGNAL: i32 = 128;

/// What the program is told of its lease.
pub struct Lease {
    pub name: String,
    pub holder: String,
}

/// A program that runs.
pub struct Program {
    process: tokio::process::Child,
    group: Pid,
    guard: Guard,
    env: Tokio,
    times: Times,
}

/// Times of one program; see `hold` for where they come from.
#[derive(Clone, Copy)]
pub struct Times {
    /// How long the holder has, to tell the program to end, before the guard does.
    pub grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub stop_within: Duration,
    /// From SIGKILL to when the lease may be over.
    pub lead: Duration,
}

impl Program {
    /// Starts it under this flag, with a guard beside it.
    pub fn start(
        env: &Tokio,
        command: &[OsString],
        lease: &Lease,
        flag: Flag,
        times: Times,
    ) -> Result<Program, Failure> {
        let guard = Guard::start()?;
        let stage = std::env::current_exe().map_err(Failure::wrong)?;
        let process = tokio::process::Command::new(stage)
            .args(["lease", STAGE, &std::process::id().to_string(), "--"])
            .args(command)
            .env("PORTCULLIS_LEASE", &lease.name)
            .env("PORTCULLIS_HOLDER", &lease.holder)
            .env("PORTCULLIS_FENCE", flag.fence.to_string())
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::wrong(format!("the program was not started: {error}")))?;
        let group = process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = group.expect("it runs, so it has a number");
        let mut program = Program { process, group, guard, env: env.clone(), times };
        program.prolong(flag);
        Ok(program)
    }

    /// When it must be killed at the latest, on the clock of this process.
    pub fn kill_at(&self, flag: Flag) -> Time {
        flag.until - self.times.lead
    }

    /// The lease lasts for longer than was known. Says whether there is a guard to be told.
    pub fn prolong(&mut self, flag: Flag) -> bool {
        let kill = uptime() + self.kill_at(flag).since(self.env.now());
        let terminate = kill - self.times.stop_within + self.times.grace;
        self.guard.tell(Order::Watch { group: self.group, terminate, kill }) && self.guard.lives()
    }

    /// Tells it to end.
    pub fn terminate(&mut self) {
        self.guard.tell(Order::Stopping);
        signal(self.group, Signal::TERM);
        // One that was stopped in the meantime must wake up to hear it.
        signal(self.group, Signal::CONT);
    }

    /// Hands a signal on.
    pub fn signal(&self, what: Signal) {
        signal(self.group, what);
    }

    /// Ends it, and whatever it has started in its group.
    pub fn kill(&self) {
        signal(self.group, Signal::KILL);
    }

    /// When it must be killed if it is told to end now.
    pub fn due(&self) -> Time {
        self.env.now() + self.times.stop_within
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Result<ExitStatus, Failure> {
        self.process.wait().await.map_err(Failure::wrong)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it has left behind in its group would run on without a lease.
        self.kill();
    }
}

/// The exit code that says how it ended, as shells say it.
pub fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|number| BY_SIGNAL + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// The stage: arranges to die with the holder, and becomes the program.
///
/// Linux tells a process of the end of its parent; elsewhere the guard alone does.
pub fn stage(holder: i32, command: &[OsString]) -> u8 {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getppid, set_parent_process_death_signal};
        // Asked for after the fact: the holder may be gone by this time.
        let asked = set_parent_process_death_signal(Some(Signal::KILL));
        if asked.is_err() || getppid() != Pid::from_raw(holder) {
            eprintln!("the holder is gone: the program is not started");
            return NOT_RUN;
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = holder;
    let (program, arguments) = command.split_first().expect("the command line demands a program");
    // It returns only if it cannot become the program.
    let error = Command::new(program).args(arguments).exec();
    eprintln!("{}: {error}", program.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_RUN,
    }
}
