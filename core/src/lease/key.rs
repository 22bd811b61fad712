//! What names a lease, in one piece of memory.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names a lease; cheap to clone, to compare and to hash.
///
/// Ordered by the lease first: it tells nearly all keys of a cluster apart, where the namespace and
/// the model are the same for most.
#[derive(Clone)]
pub struct Key(Arc<Name>);

/// A key's own bytes. What comparisons need first lies beside the count of the key's copies; the text
/// lies elsewhere in memory, and a look there costs more than all else that a comparison does.
struct Name {
    head: Head,
    hash: u64,
    /// The lease, the namespace and the model.
    text: Box<str>,
    /// Where the lease ends in it.
    lease: u32,
    /// Where the namespace ends in it.
    namespace: u32,
}

/// The first sixteen bytes of a lease, the first one highest; zero where it is shorter.
///
/// Heads tell most keys apart, and those that differ are in the order of their keys.
pub(super) type Head = u128;

impl Key {
    /// The key of a lease of this kind, such as
    /// [`APPLICATION_LEADERSHIP`](super::APPLICATION_LEADERSHIP), in the model of this UUID; the lease
    /// itself is named by an application, for example.
    pub fn new(namespace: &str, model: &str, lease: &str) -> Key {
        let mut text = String::with_capacity(lease.len() + namespace.len() + model.len());
        text.push_str(lease);
        text.push_str(namespace);
        text.push_str(model);
        let end = |end: usize| u32::try_from(end).expect("nobody is sent a name of 4 GiB");
        Key(Arc::new(Name {
            head: head(lease),
            hash: hash(text.as_bytes()),
            lease: end(lease.len()),
            namespace: end(lease.len() + namespace.len()),
            text: text.into_boxed_str(),
        }))
    }

    /// What kind of lease it is.
    pub fn namespace(&self) -> &str {
        &self.0.text[self.0.lease as usize..self.0.namespace as usize]
    }

    /// The UUID of the model that the lease belongs to.
    pub fn model(&self) -> &str {
        &self.0.text[self.0.namespace as usize..]
    }

    /// The lease itself.
    pub fn lease(&self) -> &str {
        &self.0.text[..self.0.lease as usize]
    }

    pub(super) fn head(&self) -> Head {
        self.0.head
    }

    /// All of it, in the order by which keys are compared.
    fn parts(&self) -> (&str, &str, &str) {
        (self.lease(), self.namespace(), self.model())
    }
}

/// The key whose parts are empty.
impl Default for Key {
    fn default() -> Key {
        Key::new("", "", "")
    }
}

fn head(lease: &str) -> Head {
    let mut head = [0; size_of::<Head>()];
    let len = lease.len().min(head.len());
    head[..len].copy_from_slice(&lease.as_bytes()[..len]);
    Head::from_be_bytes(head)
}

/// FNV-1a: the same in every process, and good enough for a table that falls back on the text.
fn hash(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.head.cmp(&other.0.head).then_with(|| self.parts().cmp(&other.parts()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || self.0.hash == other.0.hash && self.parts() == other.parts()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace(), self.model(), self.lease())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("namespace", &self.namespace())
            .field("model", &self.model())
            .field("lease", &self.lease())
            .finish()
    }
}

/// A key as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Key")]
struct Written<'a> {
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    lease: Cow<'a, str>,
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (lease, namespace, model) = self.parts();
        let written =
            Written { namespace: namespace.into(), model: model.into(), lease: lease.into() };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let Written { namespace, model, lease } = Written::deserialize(deserializer)?;
        Ok(Key::new(&namespace, &model, &lease))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As little text as tells where each part ends.
    const PARTS: [&str; 9] = [
        "",
        "\0",
        "a",
        "a\0",
        "ab",
        "abcdefghijklmnop",
        "abcdefghijklmnopa",
        "abcdefghijklmnopb",
        "é",
    ];

    fn keys() -> impl Iterator<Item = (Key, (&'static str, &'static str, &'static str))> {
        let of_lease = |lease| {
            let of = move |namespace| PARTS.iter().map(move |model| (lease, namespace, *model));
            PARTS.iter().flat_map(move |namespace| of(*namespace))
        };
        let parts = PARTS.iter().flat_map(move |lease| of_lease(*lease));
        parts.map(|(lease, namespace, model)| {
            (Key::new(namespace, model, lease), (lease, namespace, model))
        })
    }

    #[test]
    fn keys_compare_as_their_parts_do() {
        for (one, of_one) in keys() {
            assert_eq!((one.lease(), one.namespace(), one.model()), of_one);
            for (other, of_other) in keys() {
                assert_eq!(one.cmp(&other), of_one.cmp(&of_other), "{one:?} and {other:?}");
                assert_eq!(one == other, of_one == of_other, "{one:?} and {other:?}");
                assert!(one != other || one.0.hash == other.0.hash, "{one:?} and {other:?}");
            }
        }
    }
}
