//! What bounds a controller's memory and patience, and within which bounds.

use std::time::Duration;

use portcullis_core::{NodeId, controller, queue};
use serde::Deserialize;

use super::{PEERS_MAX, duration};
use crate::api;

/// Bytes of the largest lease operation: four names of the greatest length. The limits in bytes let
/// one of these in.
pub const OPERATION_BYTES_MAX: usize = queue::OPERATION_BYTES + 4 * api::NAME_MAX;

/// Least `message-max`: a login with macaroons and a page of answers must fit.
pub const MESSAGE_MAX_LEAST: usize = 4 * 1024;
/// Most `message-max`: what libjuju takes itself.
pub const MESSAGE_MAX_MOST: usize = 64 * 1024 * 1024;
/// Least `controller-connections-max`: each controller of the largest cluster twice, since one that
/// comes back may find its old connection still there.
pub const CONTROLLER_CONNECTIONS_LEAST: usize = 2 * PEERS_MAX;
/// Most `items-per-call-max`: the answers to so many fit into one message.
pub const ITEMS_MOST: usize = 4_096;
/// Most of whatever one connection may have at a time.
pub const PER_CONNECTION_MOST: usize = 65_536;

/// What is bounded, and by how much. Every number is above zero, unless it is said to be otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Most connections through the API door at once, default 100,000; the rest wait in the
    /// kernel's backlog. Juju has no such limit (seed 001).
    pub connections_max: usize,
    /// Least logins in progress that an adaptive door lets in, default 32; one above `logins-max`
    /// counts as that. Fewer than one processor's worth would be slow for nothing.
    pub logins_min: usize,
    /// Most connections through the API door that have not logged in yet, default 1,024, which is
    /// some 50 MiB. An adaptive door lets in as many of them as are served in good time.
    pub logins_max: usize,
    /// Most connections held at the API door while controllers go first, default 100,000; the rest
    /// wait in the kernel's backlog. Each takes an open file and a few KiB.
    pub held_max: usize,
    /// Longest time that one is held, default `"2min"`; then it is hung up on.
    #[serde(with = "duration")]
    pub held_within: Duration,
    /// How long agents are let in although this controller is not stable any more, default `"30s"`:
    /// longer than an election. Not with one door that is open at once.
    #[serde(with = "duration")]
    pub lost_max: Duration,
    /// Longest time to let agents go in when the controller stops, default `"10s"`; whatever they
    /// asked for and has no answer then is answered as it stands.
    #[serde(with = "duration")]
    pub drain_max: Duration,
    /// Most connections through the controller door, proved or not: default 1,024, at least
    /// [`CONTROLLER_CONNECTIONS_LEAST`]; the rest wait in the kernel's backlog.
    pub controller_connections_max: usize,
    /// Longest message of an agent or user in bytes, in one frame or in fragments: default 262,144,
    /// from [`MESSAGE_MAX_LEAST`] to [`MESSAGE_MAX_MOST`]. A longer one closes its connection. Each
    /// connection that has sent a long one may keep that much memory.
    pub message_max: usize,
    /// Most requests without an answer on one connection, default 64; more are answered `try again`.
    pub requests_per_connection_max: usize,
    /// Most items in a bulk call, default 64; more are refused as a whole.
    pub items_per_call_max: usize,
    /// Most watchers of one connection, default 64; the next is refused.
    pub watchers_per_connection_max: usize,
    /// Most answers that wait for one slow reader, default 64; from then on nothing more is read of
    /// it.
    pub answers_waiting_max: usize,
    /// How long a lease operation may take if its asker does not say, default `"10s"`; at most
    /// `patience-max`.
    #[serde(with = "duration")]
    pub patience: Duration,
    /// Longest time from connecting to having logged in, default `"30s"`.
    #[serde(with = "duration")]
    pub login_within: Duration,
    /// Longest silence of an agent, default `"3min"` (Juju).
    #[serde(with = "duration")]
    pub silent_max: Duration,
    /// Most asks without an answer on one connection, default 256; more are answered `overloaded`.
    pub asks_per_connection_max: usize,
    /// Most lease operations that wait to be proposed, default 262,144; more are answered
    /// `overloaded` (seed 004).
    pub waiting_max: usize,
    /// Most bytes of them, by [`queue::size`], default 67,108,864: at least [`OPERATION_BYTES_MAX`].
    pub waiting_bytes_max: usize,
    /// Most lease operations in one raft entry, default 1,024 (measured fastest at 256 to 1,024).
    pub batch_max: usize,
    /// Most bytes of them, by the same measure, default 262,144: at least [`OPERATION_BYTES_MAX`].
    pub batch_bytes_max: usize,
    /// Most renewals that go ahead of a claim that waits, one after the other, default 3: a quarter
    /// of the log is the claims' at least. May be 0: then renewals have no precedence.
    pub renewals_ahead_max: u32,
    /// Most raft entries under way, default 4.
    pub flights_max: usize,
    /// Longest time a lease operation may take, whatever it asks for, default `"30s"`.
    #[serde(with = "duration")]
    pub patience_max: Duration,
    /// Most asks of this controller's clients without an answer, under way to the leader or
    /// resting, default 65,536.
    pub forwards_max: usize,
    /// Longest rest of an ask for want of a leader, default `"5s"`; then it is told that nobody
    /// leads.
    #[serde(with = "duration")]
    pub leaderless_max: Duration,
    /// How many of a hundred first tries may be repeated, default 20; 0 repeats none (seed 002:
    /// retries fed the load that they answered).
    pub retries_share: u32,
    /// Most retries that a calm may save up for a storm, default 1,000. May be 0.
    pub retries_saved_max: u32,
    /// Most agents that wait for a lease to be free, default 200,000 (seed 002's largest run has
    /// 120,000 of them).
    pub waits_max: usize,
    /// Most of those who wait for one lease that are woken at once when it is free, default 3.
    pub wakes_max: usize,
    /// Time until the next are woken if it still is, default `"500ms"`.
    #[serde(with = "duration")]
    pub wake_gap: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let limits = controller::Config::new(NodeId(0));
        let api = api::Config::default();
        Limits {
            connections_max: limits.listener.connections_max,
            logins_min: limits.admission.logins_min,
            logins_max: limits.listener.logins_max,
            held_max: limits.listener.held_max,
            held_within: limits.listener.held_within,
            lost_max: limits.listener.lost_max,
            drain_max: limits.drain_max,
            controller_connections_max: limits.listener.controller_connections_max,
            message_max: api.socket.message_max,
            requests_per_connection_max: api.requests_max,
            items_per_call_max: api.items_max,
            watchers_per_connection_max: api.watchers_max,
            answers_waiting_max: api.socket.outbox_max,
            patience: api.patience,
            login_within: limits.sessions.login_within,
            silent_max: limits.sessions.silent_max,
            asks_per_connection_max: limits.asks_per_connection_max,
            waiting_max: limits.queue.waiting_max,
            waiting_bytes_max: limits.queue.waiting_bytes_max,
            batch_max: limits.queue.batch_max,
            batch_bytes_max: limits.queue.batch_bytes_max,
            renewals_ahead_max: limits.queue.renewals_ahead_max,
            flights_max: limits.queue.flights_max,
            patience_max: limits.queue.patience_max,
            forwards_max: limits.forward.asks_max,
            leaderless_max: limits.forward.leaderless_max,
            retries_share: limits.forward.budget.share,
            retries_saved_max: limits.forward.budget.saved_max,
            waits_max: limits.waits.waits_max,
            wakes_max: limits.waits.wakes_max,
            wake_gap: limits.waits.wake_gap,
        }
    }
}
