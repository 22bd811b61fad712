//! The metrics of a real controller, as Prometheus scrapes and Grafana draws them.

#[path = "metrics/counts.rs"]
mod counts;
#[path = "metrics/dashboard.rs"]
mod dashboard;
#[path = "metrics/front.rs"]
mod front;
#[path = "metrics/scraped.rs"]
mod scraped;
#[path = "metrics/world.rs"]
mod world;
