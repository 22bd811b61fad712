//! `portcullis`: runs controllers, and speaks to them.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
