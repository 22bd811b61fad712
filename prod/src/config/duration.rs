//! Durations as people write them.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|error| {
        Error::custom(format!(
            "{text:?} is not a duration ({error}); write a number and a unit, such as \"250ms\""
        ))
    })
}

/// The same where the key may be absent.
pub mod optional {
    use super::{Deserializer, Duration};

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(Some)
    }
}
