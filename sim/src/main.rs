//! The command `portcullis-sim`, which `cargo sim` runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis_sim::cli::main()
}
