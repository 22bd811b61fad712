//! What a controller counts of itself, for whoever draws it: Juju's metrics under Juju's names, and
//! ours, `portcullis_`, beside them.
//!
//! Every node has a registry of its own, as many of them may live in one process. What happens is
//! counted where it happens, by the shell; what merely is, is looked at when somebody scrapes (see
//! [`Sheet`]). core knows nothing of it. Juju's summaries are histograms here, of the same name and
//! unit: their `_sum` and `_count` are the same, and quantiles can be had over all controllers.

mod disk;
pub mod labels;
mod limit;
mod register;
mod sheet;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_core::lease::{Applied, Entry};
use portcullis_core::queue::{self, Answer};
use portcullis_core::{Door, sessions};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::rpc;
use labels::{
    ByAnswer, ByDoor, ByEndpoint, ByLimit, ByMethod, ByOperation, ByRequest, ByResult, ByWhy,
};

pub use disk::Timed;
pub use limit::Limit;
pub use sheet::Sheet;
pub use text::CONTENT_TYPE;

type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// The figures of one controller; see the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    answers: Family<ByAnswer, Counter>,
    asks: Timings<ByAnswer>,
    juju_requests: Timings<ByOperation>,
    juju_calls: Timings<ByMethod>,
    retry_after: Histogram,
    batch_commands: Histogram,
    batch_bytes: Histogram,
    clock_entries: Counter,
    commits: Timings<ByResult>,
    juju_applications: Timings<ByResult>,
    applied: Family<ByResult, Counter>,
    applied_entries: Counter,
    syncs: Histogram,
    snapshots: Family<ByResult, Counter>,
    snapshot_bytes: Family<ByResult, Counter>,
    forwards: Family<ByResult, Counter>,
    peer_requests: Family<ByRequest, Counter>,
    accepts: Family<ByDoor, Counter>,
    juju_connections: Family<ByEndpoint, Gauge>,
    juju_connections_total: Family<ByEndpoint, Counter>,
    handshakes: Timings<ByResult>,
    juju_login_attempts: Gauge,
    logins: Family<ByResult, Counter>,
    hangups: Family<ByWhy, Counter>,
    bounds: Family<ByLimit, Gauge>,
    used: BTreeMap<Limit, Gauge>,
    refusals: BTreeMap<Limit, Counter>,
}

impl Metrics {
    /// Counts an answer and the time that it took.
    pub fn answered(
        &self,
        controller: bool,
        operation: &'static str,
        answer: &Answer,
        took: Duration,
    ) {
        let (asker, told) = (labels::asker(controller), labels::answer(answer));
        let label = ByAnswer { asker, operation, answer: told };
        self.answers.get_or_create(&label).inc();
        self.asks.get_or_create(&label).observe(took.as_secs_f64());
        if !controller {
            let label = ByOperation { operation, result: labels::juju_result(answer) };
            self.juju_requests.get_or_create(&label).observe(milliseconds(took));
        }
        if let Answer::Overloaded { retry_after } = answer {
            self.retry_after.observe(retry_after.as_secs_f64());
        }
    }

    /// Counts a raft entry that is proposed.
    pub fn proposed(&self, entry: &Entry) {
        let commands = entry.commands.len();
        if commands == 0 {
            self.clock_entries.inc();
            return;
        }
        // Batches are far below 2^52.
        self.batch_commands.observe(commands as f64);
        let bytes = entry.commands.iter().map(|command| queue::size(&command.operation)).sum();
        self.batch_bytes.observe(bytes as f64);
        self.most(Limit::Batch, commands);
        self.most(Limit::BatchBytes, bytes);
    }

    /// Counts what became of a raft entry that was proposed, and the time that it took.
    pub fn settled(&self, result: &'static str, took: Duration) {
        self.commits.get_or_create(&ByResult { result }).observe(took.as_secs_f64());
        let result = if result == "committed" { "success" } else { "failure" };
        self.juju_applications.get_or_create(&ByResult { result }).observe(milliseconds(took));
    }

    /// How many connections there are through a door.
    pub fn connections(&self, door: Door) -> u64 {
        let endpoint = ByEndpoint { endpoint: labels::door(door) };
        let connections = self.juju_connections.get_or_create(&endpoint).get();
        u64::try_from(connections).unwrap_or_default()
    }

    /// Counts what the table has applied.
    pub fn applied(&self, applied: &Applied) {
        self.applied_entries.inc();
        for outcome in &applied.outcomes {
            self.applied.get_or_create(&ByResult { result: labels::outcome(outcome) }).inc();
        }
    }

    /// The histogram of a disk's syncs.
    pub fn syncs(&self) -> Histogram {
        self.syncs.clone()
    }

    /// Counts a snapshot by what became of its way between two controllers.
    pub fn snapshot(&self, result: &'static str) {
        self.snapshots.get_or_create(&ByResult { result }).inc();
    }

    /// Counts bytes of snapshots that another controller has taken.
    pub fn snapshot_sent(&self, bytes: u64) {
        self.snapshot_bytes.get_or_create(&ByResult { result: "sent" }).inc_by(bytes);
    }

    /// Counts bytes of snapshots that came from another controller.
    pub fn snapshot_received(&self, bytes: u64) {
        self.snapshot_bytes.get_or_create(&ByResult { result: "received" }).inc_by(bytes);
    }

    /// Counts an ask that was handed to the leader.
    pub fn forwarded(&self, result: &'static str) {
        self.forwards.get_or_create(&ByResult { result }).inc();
    }

    /// Counts what another controller asks.
    pub fn peer_asked(&self, request: &'static str) {
        self.peer_requests.get_or_create(&ByRequest { request }).inc();
    }

    /// Counts a connection that was let in.
    pub fn connected(&self, door: &'static str) {
        let endpoint = ByEndpoint { endpoint: door };
        self.accepts.get_or_create(&ByDoor { door }).inc();
        self.juju_connections_total.get_or_create(&endpoint).inc();
        self.juju_connections.get_or_create(&endpoint).inc();
    }

    /// Takes a connection off that is gone.
    pub fn disconnected(&self, door: &'static str) {
        self.juju_connections.get_or_create(&ByEndpoint { endpoint: door }).dec();
    }

    /// Counts a handshake.
    pub fn greeted(&self, result: &'static str, took: Duration) {
        self.handshakes.get_or_create(&ByResult { result }).observe(took.as_secs_f64());
    }

    /// Counts a connection that is cut off.
    pub fn cut(&self, why: sessions::Why) {
        self.hangups.get_or_create(&ByWhy { why: labels::why(why) }).inc();
    }

    /// Counts a login for as long as what is returned lives.
    pub fn logging_in(&self) -> Attempt {
        self.juju_login_attempts.inc();
        Attempt(self.juju_login_attempts.clone())
    }

    /// Counts a login that was decided.
    pub fn logged_in(&self, result: &'static str) {
        self.logins.get_or_create(&ByResult { result }).inc();
    }

    /// Counts a call of the API.
    pub fn called(&self, request: &rpc::Request, outcome: &rpc::Outcome, took: Duration) {
        let code = outcome.as_ref().err().map_or("", |error| error.code.as_str());
        // What there is none of may be called anything.
        let known = ![rpc::code::NOT_IMPLEMENTED, rpc::code::NOT_SUPPORTED].contains(&code);
        let name = |name: &str| if known { name.to_owned() } else { "unknown".to_owned() };
        let label = ByMethod {
            facade: name(&request.facade),
            version: if known { request.version } else { 0 },
            method: name(&request.method),
            error_code: code.to_owned(),
        };
        self.juju_calls.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Counts something that was refused because of a limit that [refuses](Limit::refuses).
    pub fn refused(&self, limit: Limit) {
        self.refusals[&limit].inc();
    }

    /// Notes how much one connection, entry or message has of what is limited for each of them.
    pub fn most(&self, limit: Limit, count: usize) {
        self.used[&limit].inner().fetch_max(signed(count as u64), Ordering::Relaxed);
    }

    /// Says how much there is of what is limited.
    pub fn used(&self, limit: Limit, count: u64) {
        self.used[&limit].set(signed(count));
    }

    /// Says how much there may be of what is limited.
    pub fn bound(&self, limit: Limit, bound: u64) {
        self.bounds.get_or_create(&ByLimit { limit: limit.name() }).set(signed(bound));
    }

    /// One more of what is limited.
    pub fn more(&self, limit: Limit) {
        self.used[&limit].inc();
    }

    /// One less of what is limited.
    pub fn less(&self, limit: Limit) {
        self.used[&limit].dec();
    }

    /// Everything that was counted, and the sheet, as [`CONTENT_TYPE`].
    pub fn text(&self, sheet: &Sheet) -> String {
        text::text([&self.registry, sheet.registry()])
    }
}

/// A login that is being decided.
#[derive(Debug)]
pub struct Attempt(Gauge);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
