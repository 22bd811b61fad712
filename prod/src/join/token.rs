//! The one line that lets one more controller into a cluster.
//!
//! Decides what is in it: which cluster, who vouches for it, where it is, and a secret that counts
//! once. It is made by `portcullis cluster add`, carried by a person, and ends at `portcullis join`;
//! the log has the hash of the secret only (seed 003: controllers join by a token).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use portcullis_core::members::TokenHash;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// What every token of this version begins with.
const PREFIX: &str = "portcullis-1-";
/// What tokens of all versions begin with.
const ANY_PREFIX: &str = "portcullis-";
/// Bytes of the checksum: a slip of the hand is found, save one of four billion.
const CHECKSUM: usize = 4;
/// Longest token in characters: sixteen addresses of the greatest length are below.
pub const TOKEN_MAX: usize = 8 * 1024;
/// Most addresses of controllers in a token: one of them must answer, not all.
pub const ADDRESSES_MAX: usize = 16;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The cluster's UUID.
    pub cluster: String,
    /// The SHA-256 of the certificate of its authority: nobody else is told the secret.
    pub authority: [u8; 32],
    /// `host:port` of API doors; at most [`ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    /// What is proved by it, from the operating system's randomness.
    pub secret: [u8; 32],
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is something else.
    #[error("this is no token; one begins with {PREFIX}, and `portcullis cluster add` prints it")]
    NoToken,
    /// It was made by a program that this one does not understand.
    #[error("this token is of another version than {PREFIX}; use the same program for both")]
    Version,
    /// A part of it is missing, or was changed on the way.
    #[error("this token is damaged: its checksum is wrong; copy the whole line")]
    Damaged,
}

impl Token {
    /// What the log has of the secret.
    pub fn hash(&self) -> TokenHash {
        hash(&self.secret)
    }
}

/// What the log has of a secret.
pub fn hash(secret: &[u8; 32]) -> TokenHash {
    TokenHash(sha256(secret))
}

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = postcard::to_stdvec(self).map_err(|_| fmt::Error)?;
        let checksum = sha256(&bytes);
        bytes.extend_from_slice(&checksum[..CHECKSUM]);
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Token {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Token, Malformed> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(PREFIX) else {
            let of_another = text.starts_with(ANY_PREFIX);
            return Err(if of_another { Malformed::Version } else { Malformed::NoToken });
        };
        if text.len() > TOKEN_MAX {
            return Err(Malformed::Damaged);
        }
        let bytes = BASE64URL_NOPAD.decode(rest.as_bytes()).map_err(|_| Malformed::Damaged)?;
        let at = bytes.len().checked_sub(CHECKSUM).ok_or(Malformed::Damaged)?;
        let (said, checksum) = bytes.split_at(at);
        if sha256(said)[..CHECKSUM] != *checksum {
            return Err(Malformed::Damaged);
        }
        let token: Token = postcard::from_bytes(said).map_err(|_| Malformed::Damaged)?;
        let bounded = (1..=ADDRESSES_MAX).contains(&token.addresses.len());
        if bounded { Ok(token) } else { Err(Malformed::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            cluster: "11111111-2222-4333-8444-555555555555".into(),
            authority: [7; 32],
            addresses: vec!["10.0.0.1:17070".into(), "[fd00::2]:17070".into()],
            secret: [9; 32],
        }
    }

    #[test]
    fn a_token_survives_being_copied() {
        let text = token().to_string();
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{text}");
        assert_eq!(format!("  {text}\n").parse(), Ok(token()));
        assert_ne!(token().hash().0, token().secret);
    }

    #[test]
    fn every_slip_of_the_hand_is_found() {
        let text = token().to_string();
        for at in PREFIX.len()..text.len() {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let slipped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(slipped.parse::<Token>(), Err(Malformed::Damaged), "at {at}");
            assert_eq!(text[..at].parse::<Token>(), Err(Malformed::Damaged), "cut at {at}");
        }
        assert_eq!("portcullis-9-AAAA".parse::<Token>(), Err(Malformed::Version));
        assert_eq!("hello".parse::<Token>(), Err(Malformed::NoToken));
        let nowhere = Token { addresses: Vec::new(), ..token() };
        assert_eq!(nowhere.to_string().parse::<Token>(), Err(Malformed::Damaged));
    }
}
