//! The report: one or several runs as a page that needs nothing but itself, and their plots as
//! files.
//!
//! Decides nothing about a run. While it goes on, a [`Record`] keeps series of what its events say;
//! in the end [`Run`] holds all that a page needs, and may be carried from the process that ran it
//! to the one that writes the page. The same run gives the same bytes.
//!
//! ```text
//! history ──events──▶ record ──▶ panels ──▶ Run ──▶ page   ◀── template, styles, script
//! engine  ──gauges──▶   │  leases, moments   ▲  └─▶ files
//!                      series           outcome
//! ```

mod controller;
mod data;
mod draw;
mod front;
mod happening;
mod leases;
mod page;
mod panel;
mod paths;
mod plot;
mod record;
mod run;
mod scale;
mod series;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod theme;

pub use controller::Controller;
pub use draw::lasts;
pub use front::Health;
pub use page::{files, page};
pub use record::{Gauges, Record};
pub use run::{Origin, Run};
pub use text::{Unit, figure};
