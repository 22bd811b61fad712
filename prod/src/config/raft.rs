//! The pace of the log, `[raft]`.

use std::time::Duration;

use portcullis_core::clock;
use serde::Deserialize;

use super::duration;
use crate::raft;

/// The pace of raft, and how long its log grows. Times above zero, in the order `heartbeat` < `election-min` < `election-max`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raft {
    /// Time between two signs of life of the leader, default `"250ms"`.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// Shortest silence of the leader after which another stands, default `"1s"`: Juju's.
    #[serde(with = "duration")]
    pub election_min: Duration,
    /// Longest such silence, default `"2s"`; each controller draws its own between the two.
    #[serde(with = "duration")]
    pub election_max: Duration,
    /// Longest time without an entry in the log, default as [`clock::Config`]: the clock that
    /// leases expire by moves at least so often (seed 002).
    #[serde(with = "duration")]
    pub clock_interval: Duration,
    /// Entries from one snapshot to the next, default 5,000: a controller that starts again applies
    /// so many at most. Above zero.
    pub snapshot_every: u64,
    /// Bytes of entries after which a snapshot is taken however few they are, default 16,777,216. At
    /// least [`SNAPSHOT_BYTES_LEAST`].
    pub snapshot_bytes: u64,
    /// Entries kept behind a snapshot, default 1,000: who was away for fewer needs no snapshot. May
    /// be 0.
    pub log_kept: u64,
    /// Bytes of entries kept behind a snapshot at most, default 4,194,304. May be 0.
    pub log_kept_bytes: u64,
}

/// Least `snapshot-bytes`: a snapshot is not worth its while for less.
pub const SNAPSHOT_BYTES_LEAST: u64 = 65_536;

impl Default for Raft {
    fn default() -> Raft {
        let raft::Config {
            heartbeat,
            election: (election_min, election_max),
            snapshot_every,
            snapshot_bytes,
            kept: log_kept,
            kept_bytes: log_kept_bytes,
            ..
        } = raft::Config::default();
        Raft {
            heartbeat,
            election_min,
            election_max,
            clock_interval: clock::Config::default().interval,
            snapshot_every,
            snapshot_bytes,
            log_kept,
            log_kept_bytes,
        }
    }
}
