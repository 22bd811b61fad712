//! Units whose passwords are signatures of their names.
//!
//! A herd of 30,000 agents would need as many tables in every controller's file. Instead somebody
//! who makes agents signs each one's name with an Ed25519 key, and the signature is its password.
//! Controllers have the public half only: like a hash, it lets nobody in who reads it.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{Identity, hex, unhex};

const KEY_BYTES: usize = 32;
/// Sets these signatures apart from all else that the key may sign.
const CONTEXT: &str = "portcullis unit password";

/// All units of applications with names of one form, at one model.
#[derive(Clone, Debug)]
pub struct SignedUnits {
    /// UUID of their model.
    pub model: String,
    /// What the applications' names begin with; numbers from zero follow.
    pub prefix: String,
    /// How many applications there are.
    pub applications: u32,
    /// How many units each has.
    pub units: u32,
    /// What proves their passwords.
    pub key: PublicKey,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes in hex")]
pub struct Malformed;

/// The half of a key that controllers keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

/// The half of a key that makes passwords.
pub struct Signer(Ed25519KeyPair);

impl SignedUnits {
    /// Whether it is one of them.
    pub fn covers(&self, model: Option<&str>, identity: &Identity) -> bool {
        let Identity::Unit { application, number } = identity else { return false };
        let at = application.strip_prefix(&self.prefix);
        // One name only for each: no `agent007`.
        let at = at.and_then(|at| at.parse::<u32>().ok().filter(|known| known.to_string() == at));
        model == Some(&self.model)
            && at.is_some_and(|at| at < self.applications)
            && *number < u64::from(self.units)
    }

    /// Whether the password is that of the unit with this tag.
    pub fn verify(&self, tag: &str, password: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.key.0);
        // A password of another length is none, and is not looked at.
        let signature = unhex(password).filter(|_| password.len() == 4 * KEY_BYTES);
        let message = message(&self.model, tag);
        signature.is_some_and(|signature| key.verify(message.as_bytes(), &signature).is_ok())
    }
}

impl PublicKey {
    /// Reads the form in which configurations have it.
    pub fn parse(text: &str) -> Result<PublicKey, Malformed> {
        unhex(text).filter(|key| key.len() == KEY_BYTES).map(PublicKey).ok_or(Malformed)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Signer {
    /// Reads 32 bytes in hex, which may be any.
    pub fn parse(text: &str) -> Result<Signer, Malformed> {
        let seed = unhex(text).ok_or(Malformed)?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Signer).map_err(|_| Malformed)
    }

    /// The half that controllers keep.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    /// The password of a unit.
    pub fn password(&self, model: &str, tag: &str) -> String {
        hex(self.0.sign(message(model, tag).as_bytes()).as_ref())
    }
}

impl fmt::Debug for Signer {
    /// Hides what makes passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// A model's UUID has no slash, and neither has a tag, so there is one way only to cut this.
fn message(model: &str, tag: &str) -> String {
    format!("{CONTEXT}/{model}/{tag}")
}

#[cfg(test)]
mod tests {
    use super::super::Credentials;
    use super::*;
    use crate::api::Place;

    const KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    fn signer() -> Signer {
        Signer::parse(KEY).expect("a key")
    }

    fn credentials() -> Credentials {
        let mut credentials = Credentials::default();
        credentials.insert_signed(SignedUnits {
            model: "m".into(),
            prefix: "agent".into(),
            applications: 10,
            units: 3,
            key: signer().public_key(),
        });
        credentials
    }

    fn welcome(model: &str, tag: &str, password: &str) -> bool {
        credentials().verify(&Place::Model(model.into()), tag, password).is_some()
    }

    #[test]
    fn whoever_has_a_signed_password_is_let_in() {
        for tag in ["unit-agent0-0", "unit-agent9-2"] {
            assert!(welcome("m", tag, &signer().password("m", tag)), "{tag}");
        }
    }

    #[test]
    fn a_password_is_for_one_unit_at_one_model() {
        let password = signer().password("m", "unit-agent0-0");
        assert!(!welcome("m", "unit-agent0-1", &password));
        assert!(!welcome("n", "unit-agent0-0", &password));
        assert!(!welcome("m", "unit-agent0-0", &signer().password("n", "unit-agent0-0")));
        assert!(!welcome("m", "unit-agent0-0", &password[2..]));
        assert!(!welcome("m", "unit-agent0-0", ""));
        let other = Signer::parse(&"11".repeat(32)).expect("a key");
        assert!(!welcome("m", "unit-agent0-0", &other.password("m", "unit-agent0-0")));
    }

    #[test]
    fn nobody_beyond_the_numbers_is_let_in() {
        for tag in ["unit-agent10-0", "unit-agent0-3", "unit-agent07-0", "unit-agents-0"] {
            assert!(!welcome("m", tag, &signer().password("m", tag)), "{tag}");
        }
        let place = Place::Controller;
        let password = signer().password("m", "unit-agent0-0");
        assert_eq!(credentials().verify(&place, "unit-agent0-0", &password), None);
    }

    #[test]
    fn keys_are_told_from_other_texts() {
        assert_eq!(PublicKey::parse("00"), Err(Malformed));
        assert!(Signer::parse("").is_err() && Signer::parse("secret").is_err());
        let text = signer().public_key().to_string();
        assert_eq!(PublicKey::parse(&text), Ok(signer().public_key()));
    }
}
