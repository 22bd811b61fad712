//! What a controller shows of itself: its readiness, and its figures when somebody scrapes.

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use portcullis_core::lease::{LEASES_MAX, PINS_MAX};
use portcullis_core::members::{MEMBERS_MAX, TOKENS_MAX};
use portcullis_core::readiness::Condition;
use portcullis_core::{Door, NodeId, controller};

use super::{Config, INBOX_MAX, METRICS_CONNECTIONS_MAX, Readiness, Serve};
use crate::api::{Health, Standing};
use crate::env::{Env, Process};
use crate::join;
use crate::metrics::{Limit, Sheet, labels};
use crate::peer;

/// The bounds of all limits that are known when a controller starts.
pub fn bounds(config: &Config) -> Vec<(Limit, u64)> {
    let controller::Config { listener, queue, forward, waits, asks_per_connection_max, .. } =
        &config.controller;
    let peer = peer::Config::new(config.controller.node, &config.cluster);
    let known = [
        (Limit::Connections, listener.connections_max),
        (Limit::Logins, listener.logins_max),
        (Limit::Held, listener.held_max),
        (Limit::AsksPerConnection, *asks_per_connection_max),
        (Limit::Waiting, queue.waiting_max),
        (Limit::WaitingBytes, queue.waiting_bytes_max),
        (Limit::Batch, queue.batch_max),
        (Limit::BatchBytes, queue.batch_bytes_max),
        // One more is for the clock.
        (Limit::Flights, queue.flights_max + 1),
        (Limit::Forwards, forward.asks_max),
        (Limit::Waits, waits.waits_max),
        (Limit::Leases, LEASES_MAX),
        (Limit::Pins, PINS_MAX),
        (Limit::Requests, config.api.requests_max),
        (Limit::Items, config.api.items_max),
        (Limit::Watchers, config.api.watchers_max),
        (Limit::Message, config.api.socket.message_max),
        (Limit::Inbox, INBOX_MAX),
        (Limit::PeerCalls, peer.calls_max),
        (Limit::Scrapes, METRICS_CONNECTIONS_MAX),
        (Limit::FailedJoins, join::FAILED_MAX as usize),
        (Limit::Members, MEMBERS_MAX),
        (Limit::Tokens, TOKENS_MAX),
    ];
    known.into_iter().map(|(limit, bound)| (limit, bound as u64)).collect()
}

impl<E: Env> Serve<E> {
    /// How the controller is, and what it is ready by or waits for.
    pub fn health(&self) -> Health {
        let ports = self.ports.borrow().clone();
        let Readiness { open, api_door, conditions, lack } = self.readiness.borrow().clone();
        let standing = match open {
            _ if self.stopping.is_cancelled() => Standing::Stopping,
            true => Standing::Running,
            false => Standing::Starting,
        };
        let named = conditions.into_iter().map(|Condition { name, met, .. }| (name, met));
        let mut conditions: Vec<_> = named.collect();
        if self.doors.borrow().controller.is_some() {
            let bound = ports.controller.is_some();
            let addressed = usize::from(self.bind_file.is_some());
            let place = addressed.min(conditions.len());
            conditions.insert(place, ("controller-door-open".to_owned(), bound));
        }
        conditions.push(("api-door-open".to_owned(), open));
        let connections = self.metrics.connections(Door::Api);
        Health { standing, api_door, conditions, lack, connections }
    }

    /// Everything that Prometheus wants to know.
    pub async fn scrape(&self) -> String {
        let env = self.env.clone();
        let process = self.env.compute(move || env.process()).await;
        let mut sheet = Sheet::default();
        self.machine(self.status().await, &mut sheet);
        self.log(&mut sheet);
        self.table(&mut sheet);
        self.doors(&mut sheet);
        self.responsibilities(&mut sheet);
        self.certificate(&mut sheet);
        self.process(process, &mut sheet);
        self.metrics.text(&sheet)
    }

    fn machine(&self, status: Option<controller::Status>, sheet: &mut Sheet) {
        if let Some(status) = status {
            for (limit, used) in [
                (Limit::Waiting, status.waiting),
                (Limit::WaitingBytes, status.waiting_bytes),
                (Limit::Flights, status.in_flight),
                (Limit::Forwards, status.asks),
                (Limit::Waits, status.parked),
            ] {
                self.metrics.used(limit, used as u64);
            }
            bind_file(&status, sheet);
            lease_manager(&status, sheet);
            admission(&status, sheet);
        }
        let inbox = self.inbox.max_capacity() - self.inbox.capacity();
        let calls = self.peers.all().map(|(_, link)| link.calls()).max();
        self.metrics.used(Limit::Inbox, inbox as u64);
        self.metrics.used(Limit::PeerCalls, calls.unwrap_or_default() as u64);
        self.metrics.used(Limit::FailedJoins, self.joining.failed(self.env.now()).into());
    }

    fn log(&self, sheet: &mut Sheet) {
        let metrics = self.raft.metrics();
        let raft = metrics.borrow_watched();
        let index = |log: Option<u64>| log.unwrap_or_default() as f64;
        let state = match raft.state {
            ServerState::Leader => "leader",
            ServerState::Follower => "follower",
            ServerState::Candidate => "candidate",
            ServerState::Learner => "learner",
            ServerState::Shutdown => "shutdown",
        };
        sheet.gauges(
            "portcullis_raft_state",
            "1 for what this controller is in the cluster",
            "state",
            ["leader", "follower", "candidate", "learner", "shutdown"]
                .map(|each| (each.to_owned(), truth(each == state))),
        );
        sheet.gauge(
            "portcullis_raft_leader",
            "The number of the controller that leads, as far as this one knows; -1 if not at all",
            raft.current_leader.map_or(-1.0, |leader| leader as f64),
        );
        sheet.gauge(
            "portcullis_raft_term",
            "The term that this controller is in: each election makes it one more",
            raft.current_term as f64,
        );
        sheet.gauges(
            "portcullis_raft_index",
            "The last raft entry that is in the log, known to be committed, applied, in the \
             snapshot, or forgotten",
            "of",
            [
                ("log", raft.last_log_index),
                ("committed", raft.local_committed.map(|log| log.index)),
                ("applied", raft.last_applied.map(|log| log.index)),
                ("snapshot", raft.snapshot.map(|log| log.index)),
                ("purged", raft.purged.map(|log| log.index)),
            ]
            .map(|(of, log)| (of.to_owned(), index(log))),
        );
        sheet.gauges(
            "portcullis_raft_replicated",
            "The last raft entry that each controller is known to have, as the leader sees it",
            "peer",
            raft.replication
                .iter()
                .flatten()
                .map(|(peer, log)| (NodeId(*peer).to_string(), index(log.map(|log| log.index)))),
        );
    }

    fn table(&self, sheet: &mut Sheet) {
        let (leases, pins, global, members, tokens) = {
            let view = self.leases.view();
            let members = view.members();
            let (members, tokens) = (members.len(), members.tokens().count());
            (view.len() as u64, view.pins_most() as u64, view.now(), members, tokens)
        };
        self.metrics.used(Limit::Members, members as u64);
        self.metrics.used(Limit::Tokens, tokens as u64);
        self.metrics.used(Limit::Leases, leases);
        self.metrics.used(Limit::Pins, pins);
        sheet.gauge(
            "portcullis_clock_seconds",
            "The time that leases expire by, in this controller's table",
            global.0 as f64 / 1e6,
        );
    }

    fn doors(&self, sheet: &mut Sheet) {
        let ports = self.ports.borrow().clone();
        sheet.gauges(
            "portcullis_door_open",
            "Whether the door listens, 1 or 0",
            "door",
            [("controller", ports.controller.is_some()), ("api", ports.api.is_some())]
                .map(|(door, listens)| (door.to_owned(), truth(listens))),
        );
        let Health { standing, conditions, .. } = self.health();
        sheet.gauges(
            "portcullis_condition",
            "Whether a condition of readiness holds, 1 or 0, as /health names them",
            "condition",
            conditions.into_iter().map(|(name, holds)| (name, truth(holds))),
        );
        sheet.gauge(
            "portcullis_running",
            "Whether /health says running: 1, or 0 while the controller starts or stops",
            truth(standing == Standing::Running),
        );
        sheet.gauges(
            "portcullis_peer_connected",
            "Whether there is a connection to each controller, 1 or 0; to this one by its own door",
            "peer",
            self.peers.all().map(|(node, link)| (node.to_string(), truth(link.connected()))),
        );
        sheet.gauges(
            "portcullis_build_info",
            "1 for the version that runs",
            "version",
            [(env!("CARGO_PKG_VERSION").to_owned(), 1.0)],
        );
    }

    fn responsibilities(&self, sheet: &mut Sheet) {
        let each = self.own.all().into_iter();
        sheet.gauges(
            "portcullis_responsible",
            "1 if what must run on one controller may run on this one, by its lease or its name, or 0",
            "lease",
            each.map(|one| (one.lease, truth(one.fence.is_some()))),
        );
    }

    fn certificate(&self, sheet: &mut Sheet) {
        let left = self.env.today().zip(self.validity).map(|(now, validity)| validity.left(now));
        if let Some(left) = left {
            sheet.gauge(
                "portcullis_certificate_seconds",
                "Time until this controller's certificate, or its authority's, expires; below zero \
                 once it has",
                left,
            );
        }
    }

    fn process(&self, process: Option<Process>, sheet: &mut Sheet) {
        let Some(Process { memory, memory_max, files, files_max }) = process else { return };
        self.metrics.used(Limit::Memory, memory);
        self.metrics.used(Limit::Files, files);
        self.metrics.bound(Limit::Memory, memory_max);
        self.metrics.bound(Limit::Files, files_max);
        let (memory, files, files_max) = (memory as f64, files as f64, files_max as f64);
        sheet.gauge(
            "process_resident_memory_bytes",
            "Bytes of memory that the process uses",
            memory,
        );
        sheet.gauge(
            "process_open_fds",
            "Files, and so connections, that the process has open",
            files,
        );
        sheet.gauge("process_max_fds", "Files that the process may have open", files_max);
    }
}

/// What is wrong with the file that says where the controller door is to be bound.
fn bind_file(status: &controller::Status, sheet: &mut Sheet) {
    let reason = status.lack.as_ref().map(labels::lack);
    sheet.gauges(
        "portcullis_bind_address_lack",
        "1 for what is wrong with bind-address-file; /health and the log have it in full",
        "reason",
        labels::LACKS.map(|each| (each.to_owned(), truth(reason == Some(each)))),
    );
}

/// What the machine alone knows of its asks and its clock.
fn lease_manager(status: &controller::Status, sheet: &mut Sheet) {
    sheet.gauge(
        "portcullis_clock_lag_seconds",
        "How far the time that leases expire by stands behind real time, and so how late they \
         expire; a commit longer than clock-interval at most, while all is well",
        status.clock_lag.as_secs_f64(),
    );
    sheet.gauge(
        "portcullis_drain_seconds",
        "Time that the log takes for one command, as measured on full entries; 0 before there was one",
        status.drain.as_secs_f64(),
    );
    sheet.gauge(
        "portcullis_resting_asks",
        "Asks that rest until their next try, or until somebody leads",
        status.resting as f64,
    );
    sheet.counter(
        "portcullis_retries",
        "Tries that were repeated out of the budget",
        status.retries,
    );
    sheet.counter(
        "portcullis_retries_denied",
        "Tries that would have been repeated, had the budget allowed it",
        status.retries_denied,
    );
    sheet.counter("portcullis_wakes", "Waits that ended because the lease was free", status.wakes);
}

/// What the machine alone knows of the logins at the API door.
fn admission(status: &controller::Status, sheet: &mut Sheet) {
    sheet.gauge(
        "portcullis_logins_allowed",
        "How many may be logging in at the api door at once, from logins-min to logins-max",
        status.logins_allowed as f64,
    );
    sheet.gauge(
        "portcullis_login_seconds",
        "Time from connecting to having logged in, as the quickest quarter needed it lately; 0 \
         before there was one",
        status.login_time.as_secs_f64(),
    );
    sheet.gauge(
        "portcullis_login_least_seconds",
        "The same without congestion, as far as is known: at twice of it, fewer are allowed",
        status.login_time_least.as_secs_f64(),
    );
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}
