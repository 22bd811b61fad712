//! How a command ends: the exit codes that `--help` documents.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The exit code. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// The command line, a file or this machine is not as it must be.
    Wrong = 1,
    /// A controller refused it, such as a lease that somebody else holds.
    Refused = 2,
    /// It may have been done, or not.
    Unknown = 3,
    /// No controller that could do it was reached; it was not done.
    Unreachable = 4,
    /// There was no room; it was not done.
    Overloaded = 5,
    /// Something was seen that must never be, such as a lease held by two.
    Violated = 6,
    /// A lease was lost, and what ran under it was stopped.
    Lost = 7,
    /// This controller was removed from its cluster, and must not be started again as it is.
    Removed = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command was not done: the code for scripts, and one line for people that says what to do.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub says: String,
}

impl Failure {
    /// It ended with this code, for the reason that is said.
    pub fn new(exit: Exit, says: impl Into<String>) -> Failure {
        Failure { exit, says: says.into() }
    }

    /// The command line, a file or this machine is not as it must be.
    pub fn wrong(says: impl fmt::Display) -> Failure {
        Failure { exit: Exit::Wrong, says: says.to_string() }
    }

    /// The file or folder could not be used.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let path = path.display().to_string();
        move |error| Failure::wrong(format!("{path}: {error}"))
    }
}
