//! Whether this machine can have as many connections as are wanted, found out beforehand.
//!
//! A connection is an open file, and a local port for as long as it lives: the kernel has about
//! 28,000 of those for each destination. Without either, connecting fails half-way through a long
//! run, with an error that does not say why.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use portcullis_core::Address;

use super::super::exit::Failure;
use super::super::files;
use super::plan::Plan;

/// Open files that are no connections: standard streams, the runtime's own, and some to spare.
const OTHER_FILES: u64 = 64;
/// Where Linux says which ports it gives to whoever connects.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Of a hundred ports, how many are counted on: others use some, and closed ones linger.
const PORTS_USABLE: u64 = 90;

/// Refuses a plan that the machine has no room for; otherwise says where connections come from,
/// which is nothing if the kernel may choose.
pub fn check(plan: &Plan, addresses: &[Address]) -> Result<Vec<IpAddr>, Failure> {
    enough_files(plan.connections(), files::raise()).map_err(Failure::wrong)?;
    spread(plan, addresses)
}

/// How many connections one process can have.
pub fn connections_max() -> u64 {
    files::raise().saturating_sub(OTHER_FILES)
}

/// Where connections come from, which is nothing if the kernel may choose.
pub fn spread(plan: &Plan, addresses: &[Address]) -> Result<Vec<IpAddr>, Failure> {
    // Where the kernel does not say, it will say so when it has no more.
    let Some(range) = fs::read_to_string(PORT_RANGE).ok().and_then(|text| port_range(&text)) else {
        return Ok(Vec::new());
    };
    let loopback = |address: &Address| {
        let parsed = address.as_str().parse::<SocketAddr>();
        parsed.is_ok_and(|address| address.is_ipv4() && address.ip().is_loopback())
    };
    let here = addresses.iter().all(loopback);
    let (all, one) = (plan.connections(), plan.connections_at_most(addresses.len()));
    sources(all, one, &range, here).map_err(Failure::wrong)
}

fn enough_files(connections: u64, limit: u64) -> Result<(), String> {
    let wanted = connections + OTHER_FILES;
    if wanted <= limit {
        return Ok(());
    }
    Err(format!(
        "{connections} connections need {wanted} open files, and this process may have {limit}. \
         Raise the hard limit, which takes root: `ulimit -Hn {wanted}`, or `LimitNOFILE={wanted}` \
         in a systemd unit, or `--ulimit nofile={wanted}` for a container; each controller needs \
         its share too. Or let holders share connections with --multiplex"
    ))
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        (_, _) => None,
    }
}

/// Source addresses for so many connections, `one` of them to one controller.
fn sources(
    all: u64,
    one: u64,
    range: &RangeInclusive<u16>,
    loopback: bool,
) -> Result<Vec<IpAddr>, String> {
    let usable = range.len() as u64 * PORTS_USABLE / 100;
    if one <= usable {
        return Ok(Vec::new());
    }
    // A port that is bound before it connects serves one destination only.
    let addresses = all.div_ceil(usable.max(1));
    match u8::try_from(addresses + 1) {
        // 127.0.0.1 is left to everybody else.
        Ok(last) if loopback && last < u8::MAX => {
            Ok((2..=last).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).collect())
        }
        Ok(_) | Err(_) => Err(format!(
            "{one} connections to one controller need as many local ports, and of the {} from {} \
             to {} about {usable} can be counted on for each destination. Widen the range, which \
             takes root: `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`; or run `load` on \
             several machines; or let holders share connections with --multiplex. (Against \
             controllers on 127.0.0.1 other source addresses are used by itself.)",
            range.len(),
            range.start(),
            range.end(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_range_is_read() {
        assert_eq!(port_range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(port_range("nonsense"), None);
    }

    #[test]
    fn files_are_counted_with_some_to_spare() {
        assert_eq!(enough_files(1_000, 1_064), Ok(()));
        let refused = enough_files(12_000, 1_024).expect_err("too few");
        assert!(refused.contains("12064") && refused.contains("--multiplex"), "{refused}");
    }

    #[test]
    fn ports_are_spread_over_loopback_and_nowhere_else() {
        let range = 32_768..=60_999;
        assert_eq!(sources(75_000, 25_000, &range, false), Ok(Vec::new()));
        let spread = sources(180_000, 60_000, &range, true).expect("there are 254 addresses");
        assert_eq!(spread.len(), 8);
        assert_eq!(spread[0], IpAddr::from([127, 0, 0, 2]));
        assert!(sources(180_000, 60_000, &range, false).is_err_and(|why| why.contains("sysctl")));
        assert!(sources(90_000_000, 30_000_000, &range, true).is_err());
    }
}
