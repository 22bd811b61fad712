//! Watching: a run as it goes on, in a terminal.
//!
//! Decides how far a run may go, and what of it is shown. The run itself never looks at a clock: it
//! shows a [`View`] when somebody wants one and stands still where it may not go on yet, so it comes
//! to the same as one that nobody watches.
//!
//! ```text
//! history ──▶ Live ── views ──▶ Rein ──▶ screen: draws a frame ten times a second
//!               ◀── how far ───       ◀── keys, real time
//! ```

mod frame;
mod live;
mod rein;
mod screen;
mod speed;
#[cfg(test)]
mod tests;
mod view;

pub use live::{Live, Scene};
pub use rein::Rein;
pub use screen::{End, Keeper, give_back};
pub use speed::Speed;
