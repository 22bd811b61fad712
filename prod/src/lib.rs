#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod api;
pub mod client;
pub mod credentials;
pub mod drive;
pub mod env;
pub mod peer;
pub mod raft;
pub mod rpc;
pub mod tls;
