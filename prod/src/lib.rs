#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod api;
mod bind_file;
pub mod client;
pub mod config;
pub mod credentials;
pub mod drive;
pub mod env;
pub mod front;
pub mod join;
pub mod metrics;
pub mod node;
pub mod peer;
pub mod raft;
pub mod rpc;
pub mod singular;
pub mod tls;
pub mod tokio_env;
