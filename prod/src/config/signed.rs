//! Units of many applications, without a table each.

use serde::Deserialize;

use super::Config;
use super::check::{Faults, known_model};
use crate::credentials::{self, PublicKey, is_application};

/// Most applications of one `[[signed-units]]`.
pub const APPLICATIONS_MAX: u32 = 1_000_000;
/// Most units of each of them.
pub const UNITS_MAX: u32 = 1_000;

/// All units of applications with names of one form, whose passwords somebody signs who makes them.
/// Controllers keep the public half of the key only, so that nothing that they keep lets anybody in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SignedUnits {
    /// UUID of their model.
    pub model: String,
    /// What the applications' names begin with: with `agent` they are `agent0`, `agent1` and so on.
    /// Ends with a letter; once a model.
    pub prefix: String,
    /// How many applications there are: 1 to [`APPLICATIONS_MAX`].
    pub applications: u32,
    /// How many units each of them has: 1 to [`UNITS_MAX`].
    pub units: u32,
    /// The public half of the key that signs their passwords: Ed25519, 32 bytes in hex.
    pub public_key: String,
}

impl SignedUnits {
    /// Those who may log in by it.
    pub(super) fn credentials(&self) -> credentials::SignedUnits {
        credentials::SignedUnits {
            model: self.model.clone(),
            prefix: self.prefix.clone(),
            applications: self.applications,
            units: self.units,
            key: PublicKey::parse(&self.public_key).expect("keys were checked on loading"),
        }
    }
}

/// What makes no sense of them.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let path = |at: usize, key: &str| format!("signed-units.{at}.{key}");
    for (at, SignedUnits { model, prefix, applications, units, public_key }) in
        config.signed.iter().enumerate()
    {
        known_model(config, model, &path(at, "model"), faults);
        let lettered = prefix.ends_with(|c: char| c.is_ascii_lowercase());
        let says = format!("{prefix:?} and a number are no name of an application");
        let named = lettered && is_application(&format!("{prefix}0"));
        faults.check(named, &path(at, "prefix"), says);
        let says = format!("must be 1 to {APPLICATIONS_MAX}");
        let some = (1..=APPLICATIONS_MAX).contains(applications);
        faults.check(some, &path(at, "applications"), says);
        let says = format!("must be 1 to {UNITS_MAX}");
        faults.check((1..=UNITS_MAX).contains(units), &path(at, "units"), says);
        if let Err(malformed) = PublicKey::parse(public_key) {
            faults.add(path(at, "public-key"), malformed.to_string());
        }
    }
    let named = config.signed.iter().enumerate();
    let named =
        named.map(|(at, one)| (path(at, "prefix"), format!("{} {}", one.model, one.prefix)));
    faults.unique(named);
}
