//! Who may log in: users, units, machines and controllers, with their passwords hashed at rest.
//!
//! Decides whether a tag and a password belong together. People choose passwords, which is why
//! theirs are stretched; agents' passwords are drawn at random by Juju (18 bytes and more), so a salt
//! is all that they need, and a herd that logs in again costs a hash each. Whoever asks cannot tell
//! an unknown name from a wrong password, neither by the answer nor by its time.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::OnceLock;

use portcullis_core::NodeId;
use portcullis_core::sessions::Party;
use ring::rand::SecureRandom as _;
use ring::{digest, hmac, pbkdf2, rand};

use crate::api::Place;

mod signed;

pub use signed::{PublicKey, SignedUnits, Signer};

/// Rounds for a user's password. OWASP's advice of 2023 for PBKDF2 with SHA-256.
pub const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// Most rounds that a stored hash may name: what is verified must end.
pub const ROUNDS_MAX: u32 = 10_000_000;
/// Longest password that is looked at, in bytes.
pub const PASSWORD_MAX: usize = 1_024;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// Somebody who can log in, as a tag names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A person or a tool: `user-admin`.
    User(String),
    /// The agent of a unit: `unit-mysql-0`.
    Unit { application: String, number: u64 },
    /// The agent of a machine or of a container in one: `machine-0`, `machine-0-lxd-1`.
    Machine(String),
    /// A controller: `controller-1`.
    Controller(NodeId),
}

impl Identity {
    /// Reads a tag; nobody if it is not one of these.
    pub fn from_tag(tag: &str) -> Option<Identity> {
        let (kind, name) = tag.split_once('-')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.+@_".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return None;
        }
        let identity = match kind {
            "user" => Identity::User(name.into()),
            "machine" => Identity::Machine(name.into()),
            "controller" => Identity::Controller(NodeId(name.parse().ok()?)),
            "unit" => {
                let (application, number) = name.rsplit_once('-')?;
                let number = number.parse().ok().filter(|_| is_application(application))?;
                Identity::Unit { application: application.into(), number }
            }
            _ => return None,
        };
        // One name only for everybody: no `unit-mysql-007`.
        Some(identity).filter(|identity| identity.tag() == tag)
    }

    /// The tag, as it is written on the wire.
    pub fn tag(&self) -> String {
        match self {
            Identity::User(name) => format!("user-{name}"),
            Identity::Unit { application, number } => format!("unit-{application}-{number}"),
            Identity::Machine(id) => format!("machine-{id}"),
            Identity::Controller(node) => node.to_string(),
        }
    }

    /// What the core's machines know of them.
    pub fn party(&self) -> Party {
        match self {
            Identity::User(_) => Party::User,
            Identity::Unit { .. } | Identity::Machine(_) => Party::Agent,
            Identity::Controller(node) => Party::Controller(*node),
        }
    }
}

/// Whether an application may have this name, by Juju's rule: words of small letters and digits with
/// dashes between them, of which the first begins with a letter and all have one. So what follows
/// the last dash of a unit's tag is its number.
pub fn is_application(name: &str) -> bool {
    let word = |word: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        word.chars().all(plain) && word.contains(|c: char| c.is_ascii_lowercase())
    };
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(word)
}

impl fmt::Display for Identity {
    /// As people write it: `mysql/0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::User(name) => f.write_str(name),
            Identity::Unit { application, number } => write!(f, "{application}/{number}"),
            Identity::Machine(_) | Identity::Controller(_) => f.write_str(&self.tag()),
        }
    }
}

/// A password as it is stored: `pbkdf2-sha256$ROUNDS$SALT$HASH` or `sha256$SALT$HASH`, in hex.
#[derive(Clone, PartialEq, Eq)]
pub enum Hashed {
    /// Stretched, for what people choose.
    Stretched { rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    /// Salted, for what was drawn at random: SHA-256 over the salt and then the password.
    Salted { salt: Vec<u8>, hash: Vec<u8> },
}

/// Why a text is not a stored password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("not of the form pbkdf2-sha256$ROUNDS$SALT$HASH or sha256$SALT$HASH")]
    Form,
    #[error("rounds must be a number from 1 to {ROUNDS_MAX}")]
    Rounds,
    #[error("the salt must be at least 8 bytes in hex")]
    Salt,
    #[error("the hash must be 32 bytes in hex")]
    Hash,
}

impl Hashed {
    /// Stretches what a person chose, with a salt from the operating system's randomness.
    pub fn stretched(password: &str, rounds: NonZeroU32) -> Hashed {
        let salt = salt();
        let mut hash = vec![0; HASH_BYTES];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, &salt, password.as_bytes(), &mut hash);
        Hashed::Stretched { rounds, salt, hash }
    }

    /// Salts what was drawn at random.
    pub fn salted(password: &str) -> Hashed {
        let salt = salt();
        let hash = salted_hash(&salt, password);
        Hashed::Salted { salt, hash }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Result<Hashed, Malformed> {
        let parts: Vec<&str> = text.split('$').collect();
        let salt = |text| unhex(text).filter(|salt| salt.len() >= 8).ok_or(Malformed::Salt);
        let hash =
            |text| unhex(text).filter(|hash| hash.len() == HASH_BYTES).ok_or(Malformed::Hash);
        match parts.as_slice() {
            ["pbkdf2-sha256", number, salted, hashed] => {
                let rounds = number.parse::<NonZeroU32>().map_err(|_| Malformed::Rounds)?;
                if rounds.get() > ROUNDS_MAX {
                    return Err(Malformed::Rounds);
                }
                Ok(Hashed::Stretched { rounds, salt: salt(salted)?, hash: hash(hashed)? })
            }
            ["sha256", salted, hashed] => {
                Ok(Hashed::Salted { salt: salt(salted)?, hash: hash(hashed)? })
            }
            _ => Err(Malformed::Form),
        }
    }

    /// Whether this is the password, in a time that does not depend on where it differs.
    pub fn verify(&self, password: &str) -> bool {
        if password.len() > PASSWORD_MAX {
            return false;
        }
        match self {
            Hashed::Stretched { rounds, salt, hash } => {
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::verify(algorithm, *rounds, salt, password.as_bytes(), hash).is_ok()
            }
            Hashed::Salted { salt, hash } => alike(&salted_hash(salt, password), hash),
        }
    }
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hashed::Stretched { rounds, salt, hash } => {
                write!(f, "pbkdf2-sha256${rounds}${}${}", hex(salt), hex(hash))
            }
            Hashed::Salted { salt, hash } => write!(f, "sha256${}${}", hex(salt), hex(hash)),
        }
    }
}

impl fmt::Debug for Hashed {
    /// Hides what would let it be guessed at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hashed::Stretched { .. } => "Stretched(..)",
            Hashed::Salted { .. } => "Salted(..)",
        })
    }
}

/// Everybody who may log in, and where.
///
/// A person's password that was right once is known again by a hash under a key that this process
/// drew and that never leaves it: a tool with a thousand connections costs one stretch and not a
/// thousand, which would take 100 s of a processor. A wrong one is stretched every time.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// By model, for those who belong to one.
    accounts: BTreeMap<(Option<String>, Identity), Account>,
    /// Those who have none of their own, but a password that was signed.
    signed: Vec<SignedUnits>,
    /// What a user's password is compared with when there is no such user: as slow as the slowest.
    decoy: Option<Hashed>,
    /// Of the hashes by which right passwords are known again.
    key: hmac::Key,
}

#[derive(Clone, Debug)]
struct Account {
    hashed: Hashed,
    /// The keyed hash of the right password, once somebody has logged in with it.
    right: OnceLock<hmac::Tag>,
}

impl Default for Credentials {
    fn default() -> Credentials {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.expect("an operating system without randomness cannot serve TLS either");
        Credentials { accounts: BTreeMap::new(), signed: Vec::new(), decoy: None, key }
    }
}

impl Credentials {
    /// Lets somebody in, or gives them another password: the agents of units and machines at the
    /// model with this UUID, users everywhere.
    pub fn insert(&mut self, model: Option<&str>, identity: Identity, hashed: Hashed) {
        let rounds = |hashed: &Hashed| match hashed {
            Hashed::Stretched { rounds, .. } => rounds.get(),
            Hashed::Salted { .. } => 0,
        };
        if let Identity::User(_) = identity {
            let slower = |decoy: &Hashed| rounds(&hashed) > rounds(decoy);
            if self.decoy.as_ref().is_none_or(slower) {
                self.decoy = Some(hashed.clone());
            }
        }
        let account = Account { hashed, right: OnceLock::new() };
        self.accounts.insert((model.map(String::from), identity), account);
    }

    /// Lets in all units that a key signs passwords for, but those with an account of their own.
    pub fn insert_signed(&mut self, units: SignedUnits) {
        self.signed.push(units);
    }

    /// Who it is, if the password is theirs and they belong there.
    ///
    /// Takes about 100 ms of the processor for a user whose right password was not seen yet, 0.1 ms
    /// for a unit whose password was signed, and a microsecond for everybody else.
    pub fn verify(&self, place: &Place, tag: &str, password: &str) -> Option<Identity> {
        let identity = Identity::from_tag(tag)?;
        let model = match (&identity, place) {
            (Identity::Unit { .. } | Identity::Machine(_), Place::Model(uuid)) => {
                Some(uuid.clone())
            }
            (Identity::Unit { .. } | Identity::Machine(_), Place::Controller) => return None,
            (Identity::User(_) | Identity::Controller(_), _) => None,
        };
        let known = (model, identity);
        let Some(account) = self.accounts.get(&known) else {
            let (model, identity) = &known;
            let signed = |units: &&SignedUnits| units.covers(model.as_deref(), identity);
            if let Some(units) = self.signed.iter().find(signed) {
                return units.verify(tag, password).then_some(known.1);
            }
            if let (Identity::User(_), Some(decoy)) = (&known.1, &self.decoy) {
                decoy.verify(password);
            }
            return None;
        };
        account.verify(&self.key, tag, password).then_some(known.1)
    }
}

impl Account {
    fn verify(&self, key: &hmac::Key, tag: &str, password: &str) -> bool {
        match &self.hashed {
            Hashed::Salted { .. } => self.hashed.verify(password),
            Hashed::Stretched { .. } if password.len() > PASSWORD_MAX => false,
            Hashed::Stretched { .. } => {
                // A tag has no slash, so there is one way only to cut this.
                let claim = [tag, "/", password].concat();
                let seen = |right| hmac::verify(key, claim.as_bytes(), hmac::Tag::as_ref(right));
                if self.right.get().is_some_and(|right| seen(right).is_ok()) {
                    return true;
                }
                let right = self.hashed.verify(password);
                if right {
                    // Whoever logged in beside this one left the same.
                    let _ = self.right.set(hmac::sign(key, claim.as_bytes()));
                }
                right
            }
        }
    }
}

fn salt() -> Vec<u8> {
    let mut salt = vec![0; SALT_BYTES];
    let filled = rand::SystemRandom::new().fill(&mut salt);
    filled.expect("an operating system without randomness cannot serve TLS either");
    salt
}

fn salted_hash(salt: &[u8], password: &str) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(password.as_bytes());
    context.finish().as_ref().to_vec()
}

/// Whether two hashes are alike, looking at every byte of both whatever it finds.
fn alike(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;
