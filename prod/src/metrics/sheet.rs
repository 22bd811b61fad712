//! What is looked at when somebody scrapes, and kept nowhere.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::text;

/// Gauges and counters with their values.
#[derive(Debug, Default)]
pub struct Sheet(Registry);

impl Sheet {
    /// Adds a gauge. `help` is a sentence without its full stop.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.0.register(name, help, ConstGauge::new(value));
    }

    /// Adds a count of what has happened since the controller started.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.0.register(name, help, ConstCounter::new(value));
    }

    /// Adds a gauge with a value for each of the label's.
    pub fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, f64)>,
    ) {
        let family = Family::<Vec<(&'static str, String)>, Gauge<f64, AtomicU64>>::default();
        for (is, value) in values {
            family.get_or_create(&vec![(label, is)]).set(value);
        }
        self.0.register(name, help, family);
    }

    /// Adds a count with a value for each of the label's.
    pub fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, u64)>,
    ) {
        let family = Family::<Vec<(&'static str, String)>, Counter>::default();
        for (is, value) in values {
            family.get_or_create(&vec![(label, is)]).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// The sheet alone, as [`CONTENT_TYPE`](super::CONTENT_TYPE).
    pub fn text(&self) -> String {
        text::text([&self.0])
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0
    }
}
