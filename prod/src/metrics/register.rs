//! The registry: what every metric is called, and what it says of itself.

use std::collections::BTreeMap;

use portcullis_core::sessions;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{self, ANSWERS, ByAnswer, ByDoor, ByEndpoint, ByLimit, ByRequest, ByResult};
use super::labels::{ByWhy, OUTCOMES};
use super::{Limit, Metrics};

/// From half a millisecond to the longest patience there is by default.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The same in milliseconds, in which Juju counts leases.
const MILLISECONDS: [f64; 15] = [
    0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0,
    30_000.0,
];
/// Fewer, for what comes in many series.
const SECONDS_COARSE: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 30.0];
/// From a fast flash disk to a broken one.
const SYNC_SECONDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Up to the largest batch there is by default.
const COMMANDS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];
/// Up to a megabyte, by fours.
const BYTES: [f64; 8] = [64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

impl Metrics {
    /// Nothing has happened. The bounds are those of the limits that have one.
    pub fn new(bounds: impl IntoIterator<Item = (Limit, u64)>) -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::default(),
            answers: Family::default(),
            asks: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            juju_requests: Family::new_with_constructor(|| Histogram::new(MILLISECONDS)),
            juju_calls: Family::new_with_constructor(|| Histogram::new(SECONDS_COARSE)),
            retry_after: Histogram::new(SECONDS),
            batch_commands: Histogram::new(COMMANDS),
            batch_bytes: Histogram::new(BYTES),
            clock_entries: Counter::default(),
            commits: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            juju_applications: Family::new_with_constructor(|| Histogram::new(MILLISECONDS)),
            applied: Family::default(),
            applied_entries: Counter::default(),
            syncs: Histogram::new(SYNC_SECONDS),
            snapshots: Family::default(),
            snapshot_bytes: Family::default(),
            forwards: Family::default(),
            peer_requests: Family::default(),
            accepts: Family::default(),
            juju_connections: Family::default(),
            juju_connections_total: Family::default(),
            handshakes: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            juju_login_attempts: Gauge::default(),
            logins: Family::default(),
            hangups: Family::default(),
            bounds: Family::default(),
            used: BTreeMap::new(),
            refusals: BTreeMap::new(),
        };
        metrics.begin_at_zero();
        metrics.limits(bounds);
        metrics.register_asks();
        metrics.register_log();
        metrics.register_doors();
        metrics
    }

    /// Makes the series whose labels are known, so that the first event is seen as a rise from zero.
    fn begin_at_zero(&self) {
        for asker in [false, true].map(labels::asker) {
            for operation in ["claim", "extend"] {
                for answer in ANSWERS.into_iter().filter(|answer| *answer != "released") {
                    drop(self.answers.get_or_create(&ByAnswer { asker, operation, answer }));
                }
            }
        }
        for result in ["committed", "not-proposed", "unknown"] {
            drop(self.commits.get_or_create(&ByResult { result }));
        }
        for result in ["success", "failure"] {
            drop(self.juju_applications.get_or_create(&ByResult { result }));
        }
        for result in OUTCOMES {
            drop(self.applied.get_or_create(&ByResult { result }));
        }
        for result in ["sent", "received", "failed"] {
            drop(self.snapshots.get_or_create(&ByResult { result }));
        }
        for result in ["sent", "received"] {
            drop(self.snapshot_bytes.get_or_create(&ByResult { result }));
        }
        for result in ["answered", "unreachable", "busy", "too-large", "lost"] {
            drop(self.forwards.get_or_create(&ByResult { result }));
        }
        for result in ["controller", "client", "failed", "cut"] {
            drop(self.handshakes.get_or_create(&ByResult { result }));
        }
        for result in ["welcome", "refused", "no-model"] {
            drop(self.logins.get_or_create(&ByResult { result }));
        }
        for why in [sessions::Why::NotLoggedIn, sessions::Why::Silent] {
            drop(self.hangups.get_or_create(&ByWhy { why: labels::why(why) }));
        }
        for request in labels::PEER_REQUESTS {
            drop(self.peer_requests.get_or_create(&ByRequest { request }));
        }
        for door in labels::DOORS {
            drop(self.accepts.get_or_create(&ByDoor { door }));
            drop(self.juju_connections.get_or_create(&ByEndpoint { endpoint: door }));
            drop(self.juju_connections_total.get_or_create(&ByEndpoint { endpoint: door }));
        }
    }

    fn limits(&mut self, bounds: impl IntoIterator<Item = (Limit, u64)>) {
        let used = Family::<ByLimit, Gauge>::default();
        let refusals = Family::<ByLimit, Counter>::default();
        for (limit, bound) in bounds {
            self.bound(limit, bound);
        }
        for limit in Limit::ALL {
            let label = ByLimit { limit: limit.name() };
            if limit != Limit::Patience {
                self.used.insert(limit, used.get_or_create_owned(&label));
            }
            if limit.refuses() {
                self.refusals.insert(limit, refusals.get_or_create_owned(&label));
            }
        }
        let registry = &mut self.registry;
        registry.register(
            "portcullis_limit",
            "The most that there may be, by limit",
            self.bounds.clone(),
        );
        registry.register(
            "portcullis_limit_used",
            "How much there is, by limit; if it bounds each connection, entry or message, the most \
             that any has had",
            used,
        );
        registry.register(
            "portcullis_limit_refusals",
            "What this controller refused for a limit; for patience_max, asks that all before them \
             would have outlasted",
            refusals,
        );
    }

    fn register_asks(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "portcullis_answers",
            "Asks by who asked, for what, and the one answer that they got",
            self.answers.clone(),
        );
        registry.register(
            "portcullis_ask_seconds",
            "Time from asking to the answer",
            self.asks.clone(),
        );
        registry.register(
            "juju_raftlease_request",
            "Milliseconds from asking to the answer, for what clients of this controller asked",
            self.juju_requests.clone(),
        );
        registry.register(
            "portcullis_retry_after_seconds",
            "Times to come back that were named to those who were refused for want of room",
            self.retry_after.clone(),
        );
    }

    fn register_log(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "portcullis_batch_commands",
            "Commands in one raft entry, as proposed by this controller",
            self.batch_commands.clone(),
        );
        registry.register(
            "portcullis_batch_bytes",
            "Bytes of the commands of one raft entry, as batch_bytes_max counts them, as proposed by this controller",
            self.batch_bytes.clone(),
        );
        registry.register(
            "portcullis_clock_entries",
            "Raft entries that this controller proposed for the clock alone",
            self.clock_entries.clone(),
        );
        registry.register(
            "portcullis_commit_seconds",
            "Time from proposing a raft entry to knowing what came of it",
            self.commits.clone(),
        );
        registry.register(
            "juju_raftapply_applications",
            "Milliseconds from proposing a raft entry to knowing what came of it",
            self.juju_applications.clone(),
        );
        registry.register(
            "portcullis_applied_commands",
            "Commands that this controller's lease table has applied, by what it made of them",
            self.applied.clone(),
        );
        registry.register(
            "portcullis_applied_entries",
            "Raft entries that this controller's lease table has applied",
            self.applied_entries.clone(),
        );
        registry.register(
            "portcullis_sync_seconds",
            "Time that the disk took to make a transaction of the raft store durable",
            self.syncs.clone(),
        );
        registry.register(
            "portcullis_snapshots",
            "Snapshots that went to or came from another controller, or got stuck on the way there",
            self.snapshots.clone(),
        );
        registry.register(
            "portcullis_snapshot_transferred_bytes",
            "Bytes of snapshots that went to or came from other controllers",
            self.snapshot_bytes.clone(),
        );
        registry.register(
            "portcullis_forwards",
            "Asks that were handed to the leader, by what became of that",
            self.forwards.clone(),
        );
        registry.register(
            "portcullis_peer_requests",
            "What other controllers, and this one by its own door, asked of this one",
            self.peer_requests.clone(),
        );
    }

    fn register_doors(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "juju_apiserver_connections",
            "Connections through each door; in one-door mode, controllers are at the api door too",
            self.juju_connections.clone(),
        );
        registry.register(
            "juju_apiserver_connections",
            "Connections that there have been through each door",
            self.juju_connections_total.clone(),
        );
        registry.register(
            "juju_apiserver_active_login_attempts",
            "Logins that are being decided",
            self.juju_login_attempts.clone(),
        );
        registry.register(
            "juju_apiserver_request_duration_seconds",
            "Time that a call of the API took; what there is no method for is called unknown",
            self.juju_calls.clone(),
        );
        registry.register(
            "portcullis_accepts",
            "Connections that each door let in, one for each permit",
            self.accepts.clone(),
        );
        registry.register(
            "portcullis_handshake_seconds",
            "Time of TLS handshakes, by who arrived",
            self.handshakes.clone(),
        );
        registry.register(
            "portcullis_logins",
            "Logins that were decided, by how",
            self.logins.clone(),
        );
        registry.register(
            "portcullis_hangups",
            "Connections that were cut off for their silence, by its kind",
            self.hangups.clone(),
        );
    }
}
