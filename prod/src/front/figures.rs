//! What a front shows of itself to whoever scrapes it: its counts, its backends and its limits.
//!
//! Limits have the names, and are told in the words, that a controller's have, so that one alert
//! serves for both; see [`crate::metrics`].

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::front;

use super::{Report, SCRAPES_MAX};
use crate::config::front::BACKENDS_MAX;
use crate::env::Process;
use crate::metrics::Sheet;

/// Everything that there is to show, as [`crate::metrics::CONTENT_TYPE`].
pub fn metrics(report: &Report, limits: &front::Config, process: Option<Process>) -> String {
    let mut sheet = Sheet::default();
    let version = [(env!("CARGO_PKG_VERSION").to_owned(), 1.0)];
    sheet.gauges("portcullis_front_build_info", "Always 1, with the version", "version", version);
    let up = if report.serves { 1.0 } else { 0.0 };
    sheet.gauge("portcullis_front_serving", "Whether a backend is up and nobody stops it", up);
    counts(report, &mut sheet);
    backends(report, &mut sheet);
    bounds(report, limits, process, &mut sheet);
    sheet.text()
}

fn counts(report: &Report, sheet: &mut Sheet) {
    let counters = &report.counters;
    let is = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let simple = [
        (
            "portcullis_front_accepted",
            "Connections that were let in, one for each permit",
            &counters.accepted,
        ),
        ("portcullis_front_joined", "Connections that have reached a backend", &counters.joined),
        (
            "portcullis_front_missed",
            "Attempts to reach a backend that failed; one connection can have several",
            &counters.missed,
        ),
        (
            "portcullis_front_hung_up",
            "Connections that were cut because their backend, or the front, had to go",
            &counters.hung_up,
        ),
        (
            "portcullis_front_accepts_failed",
            "Accepts that failed, such as for want of files; clients wait in the backlog",
            &counters.accepts_failed,
        ),
    ];
    for (name, help, counter) in simple {
        sheet.counter(name, help, is(counter));
    }
    sheet.counters(
        "portcullis_front_probes",
        "Probes of backends, by what they found",
        "result",
        [("healthy", &counters.probes_healthy), ("unhealthy", &counters.probes_unhealthy)]
            .map(|(result, counter)| (result.to_owned(), is(counter))),
    );
    sheet.counters(
        "portcullis_front_bytes",
        "Bytes that were carried, up to backends and down to clients",
        "way",
        [("up", &counters.bytes_up), ("down", &counters.bytes_down)]
            .map(|(way, counter)| (way.to_owned(), is(counter))),
    );
}

fn backends(report: &Report, sheet: &mut Sheet) {
    let each = |figure: fn(&front::Status) -> f64| {
        let backends = report.backends.iter();
        let figures =
            backends.map(|(status, _)| (status.address.as_str().to_owned(), figure(status)));
        figures.collect::<Vec<_>>()
    };
    sheet.gauges(
        "portcullis_front_backend_up",
        "Whether the backend is healthy and gets connections",
        "backend",
        each(|status| f64::from(u8::from(status.standing == "up"))),
    );
    sheet.gauges(
        "portcullis_front_backend_connections",
        "Connections of the backend from this front, those on their way included",
        "backend",
        each(|status| status.connections as f64),
    );
    sheet.gauges(
        "portcullis_front_backend_elsewhere",
        "Connections that the backend said to have from elsewhere when it was last probed",
        "backend",
        each(|status| status.elsewhere as f64),
    );
}

fn bounds(report: &Report, limits: &front::Config, process: Option<Process>, sheet: &mut Sheet) {
    let load = |(status, _): &(front::Status, String)| status.connections + status.elsewhere;
    let fullest = report.backends.iter().map(load).max().unwrap_or_default();
    let mut rows = vec![
        ("connections_max", limits.connections_max as u64, report.connections as u64),
        ("connections_per_backend_max", limits.connections_per_backend_max as u64, fullest as u64),
        ("joining_max", limits.joining_max as u64, report.joining as u64),
        ("backends_max", BACKENDS_MAX as u64, report.backends.len() as u64),
        ("scrapes_max", SCRAPES_MAX as u64, report.scrapes as u64),
    ];
    if let Some(Process { memory, memory_max, files, files_max }) = process {
        rows.extend([("memory_max", memory_max, memory), ("files_max", files_max, files)]);
    }
    let all = |figure: fn(&(&str, u64, u64)) -> u64| {
        rows.iter().map(|row| (row.0.to_owned(), figure(row) as f64)).collect::<Vec<_>>()
    };
    sheet.gauges("portcullis_limit", "The most that there may be, by limit", "limit", all(|r| r.1));
    sheet.gauges(
        "portcullis_limit_used",
        "How much there is, by limit; of connections_per_backend_max, at the fullest backend",
        "limit",
        all(|row| row.2),
    );
    let counters = &report.counters;
    let refused = [
        ("hold", &counters.refused_held),
        ("tries_max", &counters.refused_tried),
        ("drain", &counters.refused_stopping),
    ];
    sheet.counters(
        "portcullis_limit_refusals",
        "Connections that were refused after they were let in: nobody turned up within hold, \
         tries_max were in vain, or the front stopped",
        "limit",
        refused.map(|(limit, count)| (limit.to_owned(), count.load(Ordering::Relaxed))),
    );
}
