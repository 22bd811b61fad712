//! Bytes at rest and on the wire: one version byte, then postcard.
//!
//! Postcard is positional, so a changed type reads old bytes as something else without noticing.
//! The version byte makes that impossible, and nothing may follow the value: bytes left over mean
//! that writer and reader disagree.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another version wrote them.
    #[error("encoded as version {found}, but this is version {wanted}")]
    Version { found: u8, wanted: u8 },
    /// They are not what they should be.
    #[error("bytes do not decode")]
    Malformed,
}

/// The bytes of a value.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    // Postcard fails on maps and sequences of unknown length only, and no type of ours has any.
    postcard::to_extend(value, vec![version]).expect("every length is known")
}

/// The value of the bytes, all of which it must take.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Error> {
    let (&found, rest) = bytes.split_first().ok_or(Error::Malformed)?;
    if found != version {
        return Err(Error::Version { found, wanted: version });
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(Error::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_and_leftovers_are_refused() {
        let mut bytes = encode(1, &(7_u64, "seven"));
        assert_eq!(decode::<(u64, String)>(1, &bytes), Ok((7, "seven".into())));
        assert_eq!(decode::<(u64, String)>(2, &bytes), Err(Error::Version { found: 1, wanted: 2 }));
        bytes.push(0);
        assert_eq!(decode::<(u64, String)>(1, &bytes), Err(Error::Malformed));
        assert_eq!(decode::<u64>(1, &[]), Err(Error::Malformed));
    }
}
