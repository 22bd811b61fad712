//! Durations in files, written as people write them: `5s`, `250ms`, `1m 30s`.
//!
//! Each type here is how serde reads and writes a field (`with = "Span"`), and how the schema
//! describes it.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error};

/// A duration.
pub struct Span;

/// A duration, where the key may be absent.
pub struct MaybeSpan;

/// The two ends of a span, where the key may be absent.
pub struct SpanPair;

fn parse<E: Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text)
        .map_err(|error| E::custom(format!("no duration such as \"5s\": {error}")))
}

impl Span {
    /// Writes it.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads it; refuses what is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(from)?)
    }
}

impl MaybeSpan {
    /// Writes it, or nothing.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => Span::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    /// Reads what is there; refuses what is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Span::deserialize(from).map(Some)
    }
}

impl SpanPair {
    /// Writes both, or nothing.
    pub fn serialize<S: Serializer>(
        pair: &Option<(Duration, Duration)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let text = |duration| humantime::format_duration(duration).to_string();
        pair.map(|(first, last)| [text(first), text(last)]).serialize(to)
    }

    /// Reads what is there; refuses what is not two durations.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<(Duration, Duration)>, D::Error> {
        let (first, last) = <(String, String)>::deserialize(from)?;
        Ok(Some((parse(&first)?, parse(&last)?)))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number with a unit, or several: `250ms`, `5s`, `1m 30s`.",
            "pattern": r"^[0-9]+ ?[a-zA-Zµ]+( ?[0-9]+ ?[a-zA-Zµ]+)*$",
        })
    }
}

impl JsonSchema for MaybeSpan {
    fn schema_name() -> Cow<'static, str> {
        Span::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Span::json_schema(generator)
    }
}

impl JsonSchema for SpanPair {
    fn schema_name() -> Cow<'static, str> {
        "Durations".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Span>();
        json_schema!({
            "type": "array",
            "description": "Two of these: `[\"20s\", \"25s\"]`.",
            "prefixItems": [one, one],
            "minItems": 2,
            "maxItems": 2,
        })
    }
}
