//! The guard: a process of its own that ends the program when whoever holds the lease cannot.
//!
//! It is told on its standard input which process group to watch and when the lease is due, by a
//! clock that all processes share. If the holder is killed, that input ends, and the program is
//! killed with it; if the holder is stopped, or too slow, the deadlines pass here. So what may run
//! once does not run on while another is granted the lease.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use portcullis::tokio_env::uptime;
use portcullis_core::Time;
use rustix::process::{Pid, Signal, kill_process_group};

use super::super::super::exit::Failure;

/// Longest sleep of the guard: a machine that was suspended is found out about within it, for the
/// kernel's timers stand still meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The guard's command line, after `portcullis lease`.
pub const COMMAND: &str = "hold-guard";

/// Sends a signal to every process of a group; one that has ended hears nothing.
pub fn signal(group: Pid, signal: Signal) {
    // It fails only if nobody of the group is left, or all have changed their user.
    let _ = kill_process_group(group, signal);
}

/// What the guard is told; each is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Terminate this group at the first time and kill it at the second, by [`uptime`].
    Watch { group: Pid, terminate: Time, kill: Time },
    /// It was told to end: only kill it, when it is time.
    Stopping,
    /// It has ended.
    Ended,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Watch { group, terminate, kill } => {
                write!(f, "watch {} {} {}", group.as_raw_nonzero(), terminate.0, kill.0)
            }
            Order::Stopping => f.write_str("stopping"),
            Order::Ended => f.write_str("ended"),
        }
    }
}

impl FromStr for Order {
    type Err = String;
    fn from_str(line: &str) -> Result<Order, String> {
        let wrong = || format!("the guard was told {line:?}");
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["watch", group, terminate, kill] => {
                let time = |word: &str| word.parse().map(Time).map_err(|_| wrong());
                let group = group.parse().ok().filter(|number| *number > 0);
                let group = group.and_then(Pid::from_raw).ok_or_else(wrong)?;
                Ok(Order::Watch { group, terminate: time(terminate)?, kill: time(kill)? })
            }
            ["stopping"] => Ok(Order::Stopping),
            ["ended"] => Ok(Order::Ended),
            _ => Err(wrong()),
        }
    }
}

/// The guard, as the holder has it.
pub struct Guard {
    process: Child,
    orders: ChildStdin,
}

impl Guard {
    /// Starts it, out of reach of what a terminal sends to the holder's group.
    pub fn start() -> Result<Guard, Failure> {
        use std::os::unix::process::CommandExt;
        let program = std::env::current_exe().map_err(Failure::wrong)?;
        let mut process = Command::new(program)
            .args(["lease", COMMAND])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::wrong(format!("no guard could be started: {error}")))?;
        let orders = process.stdin.take().expect("it was asked for");
        Ok(Guard { process, orders })
    }

    /// Tells it. Says whether it listens: if not, it has been killed.
    pub fn tell(&mut self, order: Order) -> bool {
        // One write of a short line to a pipe is whole, and does not wait while it is read.
        self.orders.write_all(format!("{order}\n").as_bytes()).is_ok()
    }

    /// Whether it runs.
    pub fn lives(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tell(Order::Ended);
        // It has nothing to watch, so it may as well be killed; either way it is waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is watched.
struct Watched {
    group: Pid,
    /// None once it was terminated, here or by the holder.
    terminate: Option<Time>,
    kill: Time,
}

/// The guard's own process.
pub fn guard() -> Result<(), Failure> {
    let (tell, orders) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    let mut watched: Option<Watched> = None;
    loop {
        let now = uptime();
        if let Some(it) = &mut watched {
            if it.kill <= now {
                eprintln!("the lease may soon be over: the program is killed by its guard");
                signal(it.group, Signal::KILL);
                watched = None;
            } else if it.terminate.is_some_and(|at| at <= now) {
                eprintln!("the holder does not answer: its guard tells the program to end");
                signal(it.group, Signal::TERM);
                it.terminate = None;
            }
        }
        let due = watched.as_ref().map(|it| it.terminate.unwrap_or(it.kill).min(it.kill));
        let wait = due.map_or(LOOK_EVERY, |at| at.since(now)).min(LOOK_EVERY);
        match orders.recv_timeout(wait) {
            Ok(line) => match line.parse().map_err(Failure::wrong)? {
                Order::Watch { group, terminate, kill } => {
                    watched = Some(Watched { group, terminate: Some(terminate), kill });
                }
                Order::Stopping => {
                    if let Some(it) = &mut watched {
                        it.terminate = None;
                    }
                }
                Order::Ended => watched = None,
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Some(Watched { group, .. }) = watched {
        eprintln!("the holder is gone: its guard kills the program");
        signal(group, Signal::KILL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let group = Pid::from_raw(4_711).expect("it is above zero");
        let watch = Order::Watch { group, terminate: Time(5), kill: Time(6) };
        for order in [watch, Order::Stopping, Order::Ended] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for line in ["", "watch", "watch 0 1 2", "watch 1 2", "watch 1 2 x", "ended now"] {
            assert!(line.parse::<Order>().is_err(), "{line}");
        }
    }
}
