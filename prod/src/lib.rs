#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod drive;
pub mod env;
pub mod peer;
pub mod raft;
