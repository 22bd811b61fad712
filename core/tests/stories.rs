//! Every machine's behaviour as text: what it was told, what it ordered, and what it waited for.
//!
//! The transcripts under `snapshots/core/` are for eyes. A changed one is accepted only with a
//! reason in the commit.

mod story;
