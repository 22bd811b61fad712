//! The log of a process: lines on standard error, for people or for machines.

use std::io;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::fmt;

use super::exit::Failure;

/// What is logged, and how.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = "Log")]
pub struct Arguments {
    /// What to log: a level (error, warn, info, debug, trace), or levels by module
    ///
    /// `info` says what phase a controller is in; `debug` every order of its machines; `trace` all
    /// that they are told. By module: `info,portcullis=debug,openraft=warn`.
    #[arg(
        long = "log",
        value_name = "FILTER",
        env = "PORTCULLIS_LOG",
        default_value = "info,openraft=warn",
        global = true
    )]
    filter: String,
    /// How to write it
    #[arg(long = "log-format", value_enum, default_value_t = Format::Human, global = true)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// One line for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts the log of this process; refuses a filter that means nothing.
pub fn start(arguments: &Arguments) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&arguments.filter).map_err(|error| {
        Failure::wrong(format!("--log {:?}: {error}; try --log debug", arguments.filter))
    })?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    match arguments.format {
        Format::Human => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        Format::Json => lines.json().init(),
    }
    Ok(())
}
