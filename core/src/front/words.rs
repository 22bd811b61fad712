//! The words of the front: how its inputs and outputs read in transcripts and logs.

use core::fmt::{self, Display, Formatter};

use super::{Fault, Input, News, Output, Verdict, Why};

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Healthy { connections: None } => f.write_str("healthy"),
            Verdict::Healthy { connections: Some(count) } => {
                write!(f, "healthy with {count} connections")
            }
            Verdict::Unready => f.write_str("unready"),
            Verdict::Failed => f.write_str("failed"),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Backend => "the backend cannot be reached",
            Fault::Here => "this host has no room",
        })
    }
}

impl Display for Why {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NoBackend => "no backend turned up in time",
            Why::Unreachable => "no backend could be reached",
            Why::Stopping => "the front stops",
        })
    }
}

impl Display for News {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            News::Up => "up",
            News::Down => "down",
            News::Unready => "not ready by its own word",
            News::Leaving => "leaving",
            News::Gone => "gone",
        })
    }
}

impl Display for Input {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Input::BackendsSet { addresses } => {
                f.write_str("backends")?;
                addresses.iter().try_for_each(|address| write!(f, " {address}"))
            }
            Input::Probed { backend, verdict } => write!(f, "{backend} probed: {verdict}"),
            Input::Accepted { connection } => write!(f, "{connection} accepted"),
            Input::Withdrawn => f.write_str("withdrawn"),
            Input::Joined { connection } => write!(f, "{connection} joined"),
            Input::NotJoined { connection, fault } => {
                write!(f, "{connection} not joined: {fault}")
            }
            Input::Ended { backend } => write!(f, "a connection of {backend} ended"),
            Input::Stopping => f.write_str("stopping"),
        }
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Output::Accept => f.write_str("accept"),
            Output::Withdraw => f.write_str("withdraw the permit"),
            Output::Probe { backend, address } => write!(f, "probe {backend} at {address}"),
            Output::Connect { connection, backend, address } => {
                write!(f, "connect {connection} to {backend} at {address}")
            }
            Output::Refuse { connection, why } => write!(f, "refuse {connection}: {why}"),
            Output::HangUp { backend } => write!(f, "hang up {backend}"),
            Output::Announce { backend, address, news } => {
                write!(f, "announce {backend} at {address}: {news}")
            }
            Output::Shut => f.write_str("shut"),
            Output::Exit => f.write_str("exit"),
        }
    }
}
