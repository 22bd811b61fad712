//! The metrics of a real controller, as Prometheus scrapes them.

#[path = "metrics/counts.rs"]
mod counts;
#[path = "metrics/scraped.rs"]
mod scraped;
#[path = "metrics/world.rs"]
mod world;
