//! The flag of what must run where the log's leader is.
//!
//! A lease would not do for it. Who moves the clock must not wait for a lease to run out, since a
//! lease runs out by that clock alone; and roles are changed by the leader or not at all. So leading
//! is what it holds, and its fence is the term: whatever it writes goes into the log, which refuses
//! what comes from the leader of an older term. Juju gates its workers of this kind so as well, by a
//! flag of their own beside the one for leases.

use portcullis_core::Time;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Flag, INBOX_MAX, Responsible};
use crate::env::Env;
use crate::raft::{Role, Roles};

/// When a flag ends that is up for as long as its process leads.
pub(super) const NEVER: Time = Time(u64::MAX);

impl Responsible {
    /// Responsible wherever this process leads and for as long as it does, with the term as fence.
    /// It may have been deposed without having heard of it: what runs must write to the log, or with
    /// the fence.
    pub fn leading<E: Env>(env: &E, name: &str, mut roles: Roles<E::Runtime>) -> Responsible {
        let (inbox, mut arrivals) = mpsc::channel(INBOX_MAX);
        let (flag_out, flag) = watch::channel(None);
        let left = CancellationToken::new();
        let (gone, name) = (left.clone().drop_guard(), name.to_owned());
        env.spawn(async move {
            let _gone = gone;
            loop {
                let role = tokio::select! {
                    biased;
                    // It is released, or nobody is left who could be responsible.
                    _ = arrivals.recv() => break,
                    role = roles.next() => role,
                };
                let next = match role {
                    Some(Role::Leader { term }) => Some(Flag { fence: term, until: NEVER }),
                    Some(Role::Follower { .. }) => None,
                    None => break,
                };
                match (flag_out.send_replace(next), next) {
                    (_, Some(Flag { fence, .. })) => info!(name, fence, "responsible by leading"),
                    (Some(_), None) => info!(name, "not responsible"),
                    (None, None) => {}
                }
            }
            flag_out.send_replace(None);
        });
        Responsible { inbox, flag, left }
    }
}
