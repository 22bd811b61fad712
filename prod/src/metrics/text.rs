//! The text that Prometheus scrapes: version 0.0.4, which Juju's controllers write too.
//!
//! The library writes OpenMetrics, where a counter and a gauge may not share a name but for
//! `_total`, as Juju's `juju_apiserver_connections` do, and counters are declared without it.

use std::fmt::Write;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

/// What the text is, for the header of that name.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything in the registries. No two may have a metric in common.
pub fn text<const N: usize>(registries: [&Registry; N]) -> String {
    let mut open = String::new();
    for registry in registries {
        // Writing to a string cannot fail.
        encode_registry(&mut open, registry).expect("a string takes everything");
    }
    let mut text = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let described = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        if let Some((name, help)) = described
            && let Some(kind) = lines.next_if(|line| line.starts_with("# TYPE "))
        {
            let kind = kind.rsplit(' ').next().unwrap_or_default();
            let total = if kind == "counter" { "_total" } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name}{total} {help}\n# TYPE {name}{total} {kind}");
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn a_counter_and_a_gauge_share_a_name_as_in_juju() {
        let (mut counters, mut gauges) = (Registry::default(), Registry::default());
        let counter: Counter = Counter::default();
        counter.inc_by(3);
        counters.register("connections", "All there were", counter);
        gauges.register("connections", "Those there are", <Gauge>::default());
        let expected = "# HELP connections_total All there were.\n\
                        # TYPE connections_total counter\nconnections_total 3\n\
                        # HELP connections Those there are.\n\
                        # TYPE connections gauge\nconnections 0\n";
        assert_eq!(text([&counters, &gauges]), expected);
    }
}
