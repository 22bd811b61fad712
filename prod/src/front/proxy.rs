//! The PROXY protocol, version 2: the bytes that tell a backend who has really dialled.
//!
//! They come before anything else on a connection to a backend that expects them; one that does not
//! would take them for a broken handshake.

use std::net::{IpAddr, Ipv6Addr};

use crate::env::Ends;

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and the connection is the front's own, such as a probe.
const LOCAL: u8 = 0x20;
/// Version 2, and the connection stands for another.
const PROXY: u8 = 0x21;
/// TCP over IPv4.
const TCP4: u8 = 0x11;
/// TCP over IPv6.
const TCP6: u8 = 0x21;

/// The header for a connection with these ends, or for one of the front's own.
///
/// IPv4 addresses that came in through an IPv6 socket are written as what they are.
pub fn header(ends: Option<Ends>) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let Some(Ends { from, to }) = ends else {
        bytes.extend([LOCAL, 0, 0, 0]);
        return bytes;
    };
    let (family, addresses) = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (TCP4, [from.octets(), to.octets()].concat()),
        (from, to) => (TCP6, [wide(from).octets(), wide(to).octets()].concat()),
    };
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let length = (addresses.len() + ports.len()) as u8;
    bytes.extend([PROXY, family, 0, length]);
    bytes.extend(addresses);
    bytes.extend(ports);
    bytes
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a";

    fn written(from: &str, to: &str) -> Vec<u8> {
        let address = |text: &str| text.parse().expect("an address");
        let bytes = header(Some(Ends { from: address(from), to: address(to) }));
        bytes.strip_prefix(SIGNED).expect("it is signed").to_vec()
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let expected = b"\x21\x11\x00\x0c\x0a\x00\x00\x09\xc0\xa8\x01\x02\xd4\x31\x42\xae";
        assert_eq!(written("10.0.0.9:54321", "192.168.1.2:17070"), expected);
        assert_eq!(written("[::ffff:10.0.0.9]:54321", "192.168.1.2:17070"), expected);

        let mut expected = b"\x21\x21\x00\x24".to_vec();
        expected.extend(b"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02");
        expected.extend(b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x09");
        expected.extend(b"\x00\x01\x42\xae");
        assert_eq!(written("[fd00::2]:1", "10.0.0.9:17070"), expected);

        assert_eq!(header(None), [SIGNED, b"\x20\x00\x00\x00"].concat());
    }
}
