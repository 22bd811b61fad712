//! What a controller says when it ends a connection of its own accord, in a close frame.
//!
//! Seed 001 asks for "a redirect to controller X in the API". Juju's protocol has such a word at the
//! login and none later, so that whoever is in is sent elsewhere by the frame that ends its
//! connection. Its code is 1012, *service restart*; its reason is `redirect`, a blank, and each
//! `host:port` to try, in order, with commas between them. Who knows that word goes there at once;
//! to everybody else, such as Juju's own clients, it is a connection that was closed.

use std::fmt::Write as _;

use portcullis_core::Address;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Longest reason that fits into a close frame, which carries 125 bytes with its code.
pub const REASON_MAX: usize = 123;
/// What a reason begins with that sends the other side elsewhere.
const REDIRECT: &str = "redirect ";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The connection ends, for the reason that is given for people to read.
    Closed(String),
    /// The other side belongs to one of these controllers' addresses, the best first.
    Redirect(Vec<Address>),
}

impl Farewell {
    /// The code and the reason of the close frame. Of the addresses, as many as fit are named; if
    /// none does, the other side must look for a controller by itself.
    pub fn frame(&self) -> (CloseCode, String) {
        let to = match self {
            Farewell::Closed(reason) => return (CloseCode::Away, reason.clone()),
            Farewell::Redirect(to) => to,
        };
        let mut reason = REDIRECT.trim_end().to_owned();
        let mut separator = ' ';
        for address in to {
            if reason.len() + 1 + address.as_str().len() > REASON_MAX {
                break;
            }
            write!(reason, "{separator}{address}").expect("a string takes whatever is written");
            separator = ',';
        }
        (CloseCode::Restart, reason)
    }

    /// Reads a close frame: where to go, if it says so. A place that is no `host:port` makes all of
    /// it a reason for people.
    pub fn read(code: CloseCode, reason: &str) -> Farewell {
        let named = reason.strip_prefix(REDIRECT).filter(|_| code == CloseCode::Restart);
        let to = named.map(|named| named.split(',').map(address).collect());
        match to {
            Some(Some(to)) => Farewell::Redirect(to),
            Some(None) | None => Farewell::Closed(reason.to_owned()),
        }
    }
}

fn address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    let port = port.parse::<u16>().is_ok_and(|port| port > 0);
    (plain && port).then(|| Address::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(to: &[&str]) -> Farewell {
        Farewell::Redirect(to.iter().map(|text| Address::new(text)).collect())
    }

    #[test]
    fn a_redirect_is_read_as_it_was_written() {
        let to = redirect(&["10.0.0.2:17070", "[fd00::2]:17070", "controller-2:17070"]);
        let (code, reason) = to.frame();
        assert_eq!(u16::from(code), 1012);
        assert_eq!(reason, "redirect 10.0.0.2:17070,[fd00::2]:17070,controller-2:17070");
        assert_eq!(Farewell::read(code, &reason), to);
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let long = format!("{}:17070", "a".repeat(108));
        let (code, reason) = redirect(&["b:1", &long]).frame();
        assert_eq!((u16::from(code), reason.as_str()), (1012, "redirect b:1"));
        let (_, reason) = redirect(&[&long, "b:1"]).frame();
        assert_eq!(reason.len(), REASON_MAX);
        assert_eq!(Farewell::read(CloseCode::Restart, &reason), redirect(&[&long]));
        let (code, reason) = redirect(&[&"a".repeat(200)]).frame();
        assert_eq!(reason, "redirect");
        assert_eq!(Farewell::read(code, &reason), Farewell::Closed(reason.clone()));
    }

    #[test]
    fn what_is_no_redirect_is_a_reason_for_people() {
        for (code, reason) in [
            (CloseCode::Away, "redirect 10.0.0.2:17070"),
            (CloseCode::Restart, "redirected 10.0.0.2:17070"),
            (CloseCode::Restart, "redirect "),
            (CloseCode::Restart, "redirect 10.0.0.2"),
            (CloseCode::Restart, "redirect 10.0.0.2:0"),
            (CloseCode::Restart, "redirect 10.0.0.2:17070,"),
            (CloseCode::Restart, "redirect a b:17070"),
            (CloseCode::Restart, "redirect http://b:17070"),
        ] {
            assert_eq!(Farewell::read(code, reason), Farewell::Closed(reason.into()), "{reason}");
        }
    }
}
