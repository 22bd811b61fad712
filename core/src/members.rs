//! The replicated table of members: which controllers the cluster has, and who may become one.
//!
//! Decides who joins, who is gone for good, how many voters and stand-bys are wanted, who is to be
//! one or not, and which version of entries everybody can read (seed 003: "each Dqlite node has a role within the
//! cluster", and who the nodes are is for the controllers to say). Who has which role is decided by
//! [`roles`](crate::roles); a controller leaves the cluster here and nowhere else. Like the lease
//! table it has [`apply`](Members::apply), and its time is the log's.
//!
//! ```text
//!                 Found                      Remove
//!   unknown ───────────────────▶ joined ───────────────▶ removed, for ever
//!      └─ Invite, then Join ───────▲
//! ```

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Address, NodeId};
use crate::mistake::Mistake;
use crate::time::GlobalTime;

mod first;
mod preference;

pub use first::First;
pub use preference::Preference;

/// Most members at a time; the next is refused as [`Refusal::Full`]. Room for Juju's most, seven
/// controllers, while each is replaced by another.
pub const MEMBERS_MAX: usize = 14;
/// Most tokens that are not void; the next is refused as [`Refusal::Full`].
pub const TOKENS_MAX: usize = 64;
/// Most addresses that one member tells agents and users, and most bytes of each name in here; a
/// member with more is refused as [`Refusal::TooLarge`].
pub const API_ADDRESSES_MAX: usize = 16;
/// See [`API_ADDRESSES_MAX`].
pub const NAME_MAX: usize = 255;
/// Most voters, and most stand-bys, that may be wanted: Juju's most controllers.
pub const WANTED_MAX: u8 = 7;

/// How far names leap where a table goes on from a past that may lack its last members: more than a
/// cluster takes in between two copies of it.
pub const NAMES_LEAP: u64 = 1_000;

/// The versions of log entries that this program reads. The second has [`Command::Prefer`], and the
/// snapshots of whatever came of it.
pub const READS: Versions = Versions { least: 1, most: 2 };

/// From which version of log entries to which a program reads, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub least: u16,
    /// The newest; not below the oldest.
    pub most: u16,
}

impl Versions {
    /// Whether this version is among them.
    pub fn contain(&self, version: u16) -> bool {
        (self.least..=self.most).contains(&version)
    }
}

/// How many of each role are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Voters, the leader among them: odd, from 1 to [`WANTED_MAX`].
    pub voters: u8,
    /// Stand-bys, which have the log and no vote: up to [`WANTED_MAX`].
    pub stand_bys: u8,
}

impl Default for Wanted {
    /// Seed 003: one leader, "up to two other voters", stand-bys; three of those, as Dqlite has.
    fn default() -> Wanted {
        Wanted { voters: 3, stand_bys: 3 }
    }
}

/// One controller of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where other controllers dial it.
    pub address: Address,
    /// Where agents and users reach it; at most [`API_ADDRESSES_MAX`].
    pub api: Vec<Address>,
    /// What it shares the fate of, such as an availability zone; empty if nobody said.
    pub domain: Arc<str>,
    /// The versions of log entries that it reads.
    pub reads: Versions,
}

/// The hash of a token: whoever reads the log cannot join by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Display for TokenHash {
    /// The first four bytes: enough to tell tokens apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two, three, four, ..] = self.0;
        write!(f, "token {one:02x}{two:02x}{three:02x}{four:02x}")
    }
}

/// The hash of a controller's public key: whoever asks again is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyHash(pub [u8; 32]);

/// An invitation for one controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Global time when it was made.
    pub made: GlobalTime,
    /// Global time after which nobody joins by it.
    pub void_after: GlobalTime,
    /// Who has joined by it. Kept until it is void, so that whoever asks again is told the same.
    pub used_by: Option<NodeId>,
    /// The key of whoever has joined by it; zeros before.
    pub key: KeyHash,
}

/// What is to be done to the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// These are the members, of a cluster that has none yet.
    Found { members: BTreeMap<NodeId, Member>, wanted: Wanted },
    /// One controller may join by this token.
    Invite { token: TokenHash, void_after: GlobalTime },
    /// Nobody may join by this token any more.
    Uninvite { token: TokenHash },
    /// A controller joins by this token. Asked again with the same key, it is told the same, and is
    /// found at the address that it names then. An address would not do: anybody can name one.
    Join { token: TokenHash, member: Member, key: KeyHash },
    /// A member has other addresses, another domain, or reads other versions than before.
    Update { node: NodeId, member: Member },
    /// A member leaves for ever.
    Remove { node: NodeId },
    /// So many voters and stand-bys are wanted from now on.
    Want { wanted: Wanted },
    /// That is wanted of a member's vote from now on, or nothing any more.
    Prefer { node: NodeId, preference: Option<Preference> },
}

impl Command {
    /// The least version that a member must read to understand it.
    pub fn version(&self) -> u16 {
        match self {
            Command::Found { .. }
            | Command::Invite { .. }
            | Command::Uninvite { .. }
            | Command::Join { .. }
            | Command::Update { .. }
            | Command::Remove { .. }
            | Command::Want { .. } => 1,
            Command::Prefer { .. } => 2,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Found { members, .. } => {
                f.write_str("found with")?;
                members.keys().try_for_each(|node| write!(f, " {node}"))
            }
            Command::Invite { token, void_after } => write!(f, "invite by {token} to {void_after}"),
            Command::Uninvite { token } => write!(f, "uninvite {token}"),
            Command::Join { token, member, .. } => write!(f, "join {} by {token}", member.address),
            Command::Update { node, member } => write!(f, "update {node} at {}", member.address),
            Command::Remove { node } => write!(f, "remove {node}"),
            Command::Want { wanted: Wanted { voters, stand_bys } } => {
                write!(f, "want {voters} voters and {stand_bys} stand-bys")
            }
            Command::Prefer { node, preference: Some(wish) } => write!(f, "prefer {node} {wish}"),
            Command::Prefer { node, preference: None } => write!(f, "prefer nothing of {node}"),
        }
    }
}

/// What came of a command.
pub type Outcome = Result<Done, Refusal>;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// It stands in the table.
    Noted,
    /// The controller is a member under this name.
    Joined { node: NodeId },
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Done::Noted => f.write_str("noted"),
            Done::Joined { node } => write!(f, "joined as {node}"),
        }
    }
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The cluster has its members already.
    Founded,
    /// The cluster has no members yet.
    NotFounded,
    /// [`MEMBERS_MAX`] or [`TOKENS_MAX`] is reached.
    Full,
    /// A name is too long, or there are too many addresses.
    TooLarge,
    /// Nobody was invited by this token, or not any more.
    NoToken,
    /// Another has joined by this token.
    UsedToken,
    /// It is no member.
    NotMember,
    /// It is the last member.
    Last,
    /// Another member has this address.
    AddressTaken,
    /// It does not read the version that the cluster writes.
    Unreadable { writes: u16 },
    /// So many voters or stand-bys cannot be had; see [`Wanted`].
    Unwanted,
    /// Without its vote there are fewer than are wanted.
    Needed,
    /// As many others are to vote as are wanted.
    Voters,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Founded => f.write_str("the cluster has its members already"),
            Refusal::NotFounded => f.write_str("the cluster has no members yet"),
            Refusal::Full => f.write_str("there are too many already"),
            Refusal::TooLarge => f.write_str("a name is too long, or there are too many addresses"),
            Refusal::NoToken => f.write_str("nobody is invited by this token"),
            Refusal::UsedToken => f.write_str("another has joined by this token"),
            Refusal::NotMember => f.write_str("it is no member"),
            Refusal::Last => f.write_str("it is the last member"),
            Refusal::AddressTaken => f.write_str("another member has this address"),
            Refusal::Unreadable { writes } => {
                write!(f, "the cluster writes version {writes}, which it does not read")
            }
            Refusal::Unwanted => {
                write!(f, "voters must be odd, and neither of the two above {WANTED_MAX}")
            }
            Refusal::Needed => f.write_str("without its vote there are fewer than are wanted"),
            Refusal::Voters => f.write_str("as many others are to vote as votes are wanted"),
        }
    }
}

/// What a controller is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is a member.
    Joined,
    /// It was one, or might have been, and never will be again.
    Removed,
    /// Its name was never given to anybody.
    Unknown,
}

/// The table itself, which is its own snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    joined: BTreeMap<NodeId, Member>,
    tokens: BTreeMap<TokenHash, Token>,
    wanted: Wanted,
    /// The name of the next to join. Every name below it that is not joined is gone for ever, so
    /// nothing need be kept of those that were removed.
    next: NodeId,
    preferences: BTreeMap<NodeId, Preference>,
}

impl Members {
    /// Applies one command at this global time.
    pub fn apply(&mut self, now: GlobalTime, command: &Command) -> Outcome {
        self.tokens.retain(|_, token| token.void_after >= now);
        if !self.founded() && !matches!(command, Command::Found { .. }) {
            return Err(Refusal::NotFounded);
        }
        match command {
            Command::Found { members, wanted } => self.found(members, *wanted),
            Command::Invite { token, void_after } => self.invite(now, *token, *void_after),
            Command::Uninvite { token } => {
                self.tokens.remove(token).map(|_| Done::Noted).ok_or(Refusal::NoToken)
            }
            Command::Join { token, member, key } => self.join(*token, member, *key),
            Command::Update { node, member } => self.update(*node, member),
            Command::Remove { node } => match self.joined.len() {
                _ if !self.joined.contains_key(node) => Err(Refusal::NotMember),
                1 => Err(Refusal::Last),
                _ if Mistake::RemovedStays.made() => Ok(Done::Noted),
                _ => {
                    self.joined.remove(node);
                    self.preferences.remove(node);
                    Ok(Done::Noted)
                }
            },
            Command::Want { wanted } => {
                self.wanted = sound(*wanted)?;
                Ok(Done::Noted)
            }
            Command::Prefer { node, preference } => self.prefer(*node, *preference),
        }
    }

    /// Whether the cluster has its members.
    pub fn founded(&self) -> bool {
        !self.joined.is_empty()
    }

    /// A member, if it is one.
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        self.joined.get(&node)
    }

    /// Every member, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.joined.iter().map(|(node, member)| (*node, member))
    }

    /// How many members there are; at most [`MEMBERS_MAX`].
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether there are none, as before the cluster is founded.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// The tokens that were not void at the last command, used ones among them; at most
    /// [`TOKENS_MAX`].
    pub fn tokens(&self) -> impl Iterator<Item = (TokenHash, &Token)> {
        self.tokens.iter().map(|(hash, token)| (*hash, token))
    }

    /// How many of each role are wanted.
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// What a controller of this name is to the cluster.
    pub fn standing(&self, node: NodeId) -> Standing {
        if self.joined.contains_key(&node) {
            Standing::Joined
        } else if node < self.next {
            Standing::Removed
        } else {
            Standing::Unknown
        }
    }

    /// The newest version that every member reads: what may be written. Nothing newer is proposed,
    /// and who cannot write this old does not lead. It grows when the last member is upgraded.
    pub fn writes(&self) -> u16 {
        self.joined.values().map(|member| member.reads.most).min().unwrap_or(READS.most)
    }

    fn found(&mut self, members: &BTreeMap<NodeId, Member>, wanted: Wanted) -> Outcome {
        let wanted = sound(wanted)?;
        if self.founded() {
            return Err(Refusal::Founded);
        }
        let Some(last) = members.keys().next_back() else { return Err(Refusal::NotMember) };
        if members.len() > MEMBERS_MAX {
            return Err(Refusal::Full);
        }
        members.values().try_for_each(small)?;
        *self = Members {
            joined: members.clone(),
            tokens: BTreeMap::new(),
            wanted,
            next: NodeId(last.0.saturating_add(1)),
            preferences: BTreeMap::new(),
        };
        Ok(Done::Noted)
    }

    /// This member is all of the cluster from now on, by an operator's word and not by the log's.
    ///
    /// Who joined after the last command that is known here has a name all the same: it is given to
    /// nobody else. No token counts any more, for it may have been used.
    pub fn leave_only(&mut self, node: NodeId) {
        self.joined.retain(|other, _| *other == node);
        self.preferences.retain(|other, _| *other == node);
        self.tokens.clear();
        self.next = NodeId(self.next.0.saturating_add(NAMES_LEAP));
    }

    fn invite(&mut self, now: GlobalTime, token: TokenHash, void_after: GlobalTime) -> Outcome {
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Refusal::Full);
        }
        if self.tokens.contains_key(&token) {
            return Err(Refusal::UsedToken);
        }
        if void_after >= now {
            let invited = Token { made: now, void_after, used_by: None, key: KeyHash([0; 32]) };
            self.tokens.insert(token, invited);
        }
        Ok(Done::Noted)
    }

    fn join(&mut self, token: TokenHash, member: &Member, key: KeyHash) -> Outcome {
        let invited = *self.tokens.get(&token).ok_or(Refusal::NoToken)?;
        if let Some(node) = invited.used_by {
            // Whoever did not hear the answer asks again; but nobody who was removed comes back.
            if invited.key != key || !self.joined.contains_key(&node) {
                return Err(Refusal::UsedToken);
            }
            return self.update(node, member).map(|_| Done::Joined { node });
        }
        if self.joined.len() >= MEMBERS_MAX {
            return Err(Refusal::Full);
        }
        let node = self.next;
        self.fits(node, member)?;
        self.next = NodeId(node.0.saturating_add(u64::from(!Mistake::NameReused.made())));
        self.joined.insert(node, member.clone());
        self.tokens.insert(token, Token { used_by: Some(node), key, ..invited });
        Ok(Done::Joined { node })
    }

    fn update(&mut self, node: NodeId, member: &Member) -> Outcome {
        if !self.joined.contains_key(&node) {
            return Err(Refusal::NotMember);
        }
        self.fits(node, member)?;
        self.joined.insert(node, member.clone());
        Ok(Done::Noted)
    }

    /// Whether a member of this name may be so.
    fn fits(&self, node: NodeId, member: &Member) -> Result<(), Refusal> {
        small(member)?;
        let writes = self.writes();
        if !member.reads.contain(writes) {
            return Err(Refusal::Unreadable { writes });
        }
        let taken =
            |(other, one): (&NodeId, &Member)| *other != node && one.address == member.address;
        if self.joined.iter().any(taken) { Err(Refusal::AddressTaken) } else { Ok(()) }
    }
}

fn sound(wanted: Wanted) -> Result<Wanted, Refusal> {
    let Wanted { voters, stand_bys } = wanted;
    let sound = voters % 2 == 1 && voters <= WANTED_MAX && stand_bys <= WANTED_MAX;
    if sound { Ok(wanted) } else { Err(Refusal::Unwanted) }
}

fn small(member: &Member) -> Result<(), Refusal> {
    let Member { address, api, domain, .. } = member;
    let names = api.iter().chain([address]).map(|address| address.as_str());
    let small = names.chain([&**domain]).all(|name| name.len() <= NAME_MAX);
    if small && api.len() <= API_ADDRESSES_MAX { Ok(()) } else { Err(Refusal::TooLarge) }
}
