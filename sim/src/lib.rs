#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(not(tokio_unstable))]
compile_error!(
    "portcullis-sim needs `--cfg tokio_unstable`, which .cargo/config.toml sets: turmoil seeds \
     tokio's own randomness only under it. A RUSTFLAGS in the environment, even an empty one, \
     replaces that setting: unset it, or add the cfg to it"
);

mod action;
mod agents;
mod chaos;
mod check;
pub mod cli;
mod counts;
mod coverage;
mod crowd;
mod deployment;
pub mod disk;
mod engine;
mod facts;
mod gate;
mod history;
mod logs;
mod members;
mod outcome;
mod picture;
mod plan;
mod scenario;
mod settings;
mod singles;
mod singular;
mod spread;
mod stage;
