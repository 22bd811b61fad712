#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(not(all(tokio_unstable, madsim)))]
compile_error!(
    "portcullis-sim needs `--cfg tokio_unstable --cfg madsim`, which .cargo/config.toml sets: \
     turmoil seeds tokio's own randomness only under the first, and madsim simulates anything only \
     under the second. A RUSTFLAGS in the environment, even an empty one, replaces that setting: \
     unset it, or add both to it"
);

mod action;
mod addresses;
mod agents;
mod asks;
mod bounds;
mod chaos;
mod check;
pub mod cli;
mod clock;
mod counts;
mod coverage;
mod crowd;
mod deployment;
pub mod disk;
mod dues;
mod engine;
mod facts;
mod gate;
mod history;
mod late;
mod logs;
mod lookup;
mod members;
mod outcome;
mod patience;
mod picture;
mod plan;
mod report;
mod scenario;
mod scribe;
mod settings;
mod singles;
mod singular;
mod slower;
mod spread;
mod stage;
mod watch;
