//! Names that a scenario may use: of checks, and of what can be seen.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::check;
use crate::outcome;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident of $what:literal from $all:expr, $about:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub &'static str);

        // Written out: derived, the static text would have to be borrowed from the file.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                let text = String::deserialize(from)?;
                let known = || $all.iter().map(|(name, _)| *name);
                known().find(|name| *name == text).map($name).ok_or_else(|| {
                    let known = known().collect::<Vec<_>>().join(", ");
                    D::Error::custom(format!("no {} is called `{text}`: {known}", $what))
                })
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $what.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let known = $all.iter().map(|(name, _)| *name).collect::<Vec<_>>();
                json_schema!({ "type": "string", "description": $about, "enum": known })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.0)
            }
        }
    )*};
}

names! {
    /// The name of a check; see [`check::ALL`].
    CheckName of "check" from check::ALL,
        "`sim/README.md` says when each holds, and who asked for it.";
    /// The name of something to be seen; see [`outcome::SOMETIMES`].
    SometimesName of "sight" from outcome::SOMETIMES,
        "Something that a run can show.";
}
