//! The command `portcullis-sim`, which `cargo sim` runs.

use std::process::ExitCode;

/// A run of many agents makes and drops small things on two threads all the time; with the system's
/// allocator it takes a sixth more of the processor.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis_sim::cli::main()
}
