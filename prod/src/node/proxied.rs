//! Clients that come through a front which says who they are: the PROXY header, on the API door.
//!
//! Whoever may say so could say anything, so only sources that are configured are believed, and of
//! these every connection must begin with the header, as its specification has it: whether one is
//! there is not guessed. From everybody else a header is a broken handshake.

use std::fmt::{self, Display};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use portcullis_core::{ConnectionId, Door};
use serde::{Deserialize, Deserializer, de};
use tracing::{debug, warn};

use super::Serve;
use crate::env::Env;
use crate::front::proxy;
use crate::tls::{self, Arrived, Hello, TlsStream};

/// Addresses that have their first bits in common, such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    address: IpAddr,
    bits: u32,
}

impl Net {
    /// Whether the address is one of them. One of IPv4 is the same through a socket of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = |width: u32| width - self.bits;
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let differ = u64::from(net.to_bits() ^ address.to_bits());
                differ >> shift(32) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let differ = net.to_bits() ^ address.to_bits();
                differ.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Net, String> {
        let wrong =
            || format!("{text:?} is no address or net, such as \"10.0.0.7\" or \"10.0.0.0/8\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| wrong())?,
            None => width,
        };
        if bits > width {
            return Err(format!("{text:?}: an address has {width} bits"));
        }
        Ok(Net { address, bits })
    }
}

impl Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Net, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl<E: Env> Serve<E> {
    /// Hears who a connection comes from: a front says it first, everybody else shows it.
    pub(super) async fn introduced(
        &self,
        connection: ConnectionId,
        door: Door,
        stream: &mut E::Stream,
    ) -> io::Result<Option<SocketAddr>> {
        let dialled = self.env.ends(stream).map(|ends| ends.from);
        let Some(front) = dialled.filter(|from| self.is_front(door, *from)) else {
            return Ok(dialled);
        };
        match proxy::read(stream).await {
            Ok(said) => {
                let from = said.map(|ends| ends.from);
                debug!(%connection, ?from, %front, "comes through a front");
                Ok(from)
            }
            Err(error) => {
                warn!(%connection, %front, %error, "refused: proxy-protocol names this source");
                Err(error)
            }
        }
    }

    /// Shakes hands with whoever was let in; their first words may have been heard at the door.
    pub(super) async fn greet(
        &self,
        connection: ConnectionId,
        door: Door,
        hello: Option<Hello>,
        mut stream: E::Stream,
    ) -> io::Result<(TlsStream<E::Stream>, Arrived)> {
        let (from, arrived) = match hello {
            Some(hello) => (None, hello.shake(&self.tls, stream).await),
            None => {
                let from = self.introduced(connection, door, &mut stream).await?;
                (from, tls::arrive(&self.tls, stream).await)
            }
        };
        if let Err(error) = &arrived {
            debug!(%connection, %door, ?from, %error, "handshake failed");
            self.mistrusted(door, from, error);
        }
        arrived
    }

    fn is_front(&self, door: Door, from: SocketAddr) -> bool {
        door == Door::Api && self.proxied.iter().any(|net| net.contains(from.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        text.parse().expect("a net")
    }

    fn has(text: &str, address: &str) -> bool {
        net(text).contains(address.parse().expect("an address"))
    }

    #[test]
    fn a_net_has_what_begins_like_it() {
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("10.0.0.0/8", "::ffff:10.0.0.1") && !has("10.0.0.0/8", "fd00::1"));
        assert!(has("10.0.0.7", "10.0.0.7") && !has("10.0.0.7", "10.0.0.6"));
        assert!(has("0.0.0.0/0", "203.0.113.9") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("fd00::/16", "fd00:1::2") && !has("fd00::/16", "fd01::2"));
        assert!(has("::/0", "fd01::2") && has("fd00::1", "fd00::1"));
        assert_eq!(net("10.0.0.0/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_net_is_refused() {
        for text in
            ["", "localhost", "10.0.0.0/", "10.0.0.0/x", "10.0.0/8", "10.0.0.0/33", "::/129"]
        {
            text.parse::<Net>().expect_err(text);
        }
    }
}
