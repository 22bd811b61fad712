//! The PROXY protocol, version 2: the bytes that tell a backend who has really dialled.
//!
//! They come before anything else on a connection to a backend that expects them; one that does not
//! would take them for a broken handshake.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::env::Ends;

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Most bytes after the fixed part of a header: addresses take 36, and who adds more has little to
/// say, such as a name and a checksum. The format has room for 65,535.
const REST_MAX: usize = 1_024;
/// Version 2, and the connection is the front's own, such as a probe.
const LOCAL: u8 = 0x20;
/// Version 2, and the connection stands for another.
const PROXY: u8 = 0x21;
/// Ends that the front does not know, or may not tell.
const UNKNOWN: u8 = 0;
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

/// Takes a header off the beginning of a connection, and nothing more. Nothing is said of connections
/// that are the front's own, or whose ends are not known to it. Bounded in time by the caller.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Ends>> {
    let wrong = |says: String| Err(io::Error::new(io::ErrorKind::InvalidData, says));
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let (signature, [command, family, length @ ..]) = fixed.split_at(SIGNATURE.len()) else {
        unreachable!("sixteen bytes are twelve and four");
    };
    if signature != SIGNATURE {
        return wrong("it does not begin with a PROXY header, version 2".into());
    }
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length > REST_MAX {
        return wrong(format!("its PROXY header has {length} bytes, and {REST_MAX} are the most"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    let v4 = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 4] = rest.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes).into())
    };
    let v6 = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = rest.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(bytes).to_canonical())
    };
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    let ends = |from: Option<IpAddr>, to: Option<IpAddr>, ports: usize| {
        let from = SocketAddr::new(from?, port(ports)?);
        Some(Ends { from, to: SocketAddr::new(to?, port(ports + 2)?) })
    };
    let ends = match (*command, *family) {
        (LOCAL, _) | (PROXY, UNKNOWN) => return Ok(None),
        (PROXY, TCP4) => ends(v4(0), v4(4), 8),
        (PROXY, TCP6) => ends(v6(0), v6(16), 32),
        (command, family) => {
            return wrong(format!("its PROXY header says {command:#04x} {family:#04x}, no TCP"));
        }
    };
    match ends {
        Some(ends) => Ok(Some(ends)),
        None => wrong(format!("its PROXY header has {length} bytes, too few for its addresses")),
    }
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

    /// What is read of these bytes, and how many are left.
    async fn taken(bytes: &[u8]) -> (Result<Option<Ends>, String>, usize) {
        let mut left = bytes;
        let read = read(&mut left).await.map_err(|error| error.to_string());
        (read, left.len())
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_nothing_after_it() {
        for (from, to) in [("10.0.0.9:54321", "192.168.1.2:17070"), ("[fd00::2]:1", "10.0.0.9:2")] {
            let address = |text: &str| text.parse().expect("an address");
            let ends = Ends { from: address(from), to: address(to) };
            let bytes = [&header(Some(ends))[..], b"hello"].concat();
            assert_eq!(taken(&bytes).await, (Ok(Some(ends)), 5));
        }
        assert_eq!(taken(&[&header(None)[..], b"hello"].concat()).await, (Ok(None), 5));
        // Whatever is added to the addresses is passed over.
        let more = [SIGNED, b"\x21\x11\x00\x0f\x0a\0\0\x09\x0a\0\0\x01\0\x01\0\x02abc!"].concat();
        let (read, left) = taken(&more).await;
        assert_eq!(read.map(|ends| ends.map(|ends| ends.from.port())), Ok(Some(1)));
        assert_eq!(left, 1);
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let refused = [
            (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03and more"[..], "does not begin with"),
            (b"PROXY TCP4 10.0.0.9 10.0.0.1 1 2\r\n", "does not begin with"),
            (&[SIGNED, b"\x21\x11\x04\x01"].concat(), "1025 bytes, and 1024 are the most"),
            (&[SIGNED, b"\x21\x11\x00\x04\x0a\0\0\x09"].concat(), "too few for its addresses"),
            (&[SIGNED, b"\x21\x12\x00\x00"].concat(), "says 0x21 0x12, no TCP"),
            (&[SIGNED, b"\x11\x11\x00\x00"].concat(), "says 0x11 0x11, no TCP"),
            (&SIGNED[..7], "eof"),
        ];
        for (bytes, says) in refused {
            let (read, _) = taken(bytes).await;
            let error = read.expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}
