//! How many files, and so connections, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, which is what the process may have; says how many.
///
/// The soft limit is 1,024 almost everywhere, for the sake of programs that use `select`.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let unlimited = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => unlimited(maximum),
        // Refused where the kernel has a lower bound of its own: what there is must do.
        Err(_) => unlimited(current),
    }
}
