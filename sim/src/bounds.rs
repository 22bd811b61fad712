//! Bounds: between which ends single settings may be, in a scenario, a plan or on the command line.
//!
//! Core's machines and the engines take what is beyond them for a bug and end with an assertion.
//! Whoever wrote the setting is told of it here instead, before anything runs.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use portcullis::config::PEERS_MAX;
use toml::de::{DeTable, DeValue};

use crate::members::Members;
use crate::scenario::Unreadable;
use crate::settings::{Agents, Balance, Controllers, Network, Scale};

/// Most agents of one run: five times those of seed 002's largest.
pub const AGENTS_MAX: u32 = 1_000_000;

/// Most of anything else that is counted, such as connections: more than any engine has room for,
/// and few enough for a product of it and another to fit into 64 bits.
const MANY: usize = 1_000_000_000;

/// What scenarios and plans have in common that has bounds.
pub struct Given<'a> {
    pub controllers: &'a Controllers,
    pub agents: &'a Agents,
    pub balance: &'a Balance,
    pub network: &'a Network,
    pub members: Option<&'a Members>,
}

/// A setting that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The key, with its tables, and those that it was measured by.
    keys: &'static [&'static str],
    says: String,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.keys.first().copied().unwrap_or_default();
        write!(f, "`{key}` {}", self.says)
    }
}

impl Outside {
    /// What is said of it, with the line of the text that it stands in.
    pub fn shown(&self, file: &str, text: &str) -> Unreadable {
        let span = self.place(text);
        Unreadable::at(file, text, span.start, span.end, &self.to_string())
    }

    /// Where the key stands, or one that it was measured by, or else their table.
    fn place(&self, text: &str) -> Range<usize> {
        let Ok(table) = DeTable::parse(text) else { return 0..0 };
        let exact = self.keys.iter().find_map(|key| place(table.get_ref(), key));
        let around = || {
            let (table_name, _) = self.keys.first()?.rsplit_once('.')?;
            place(table.get_ref(), table_name)
        };
        exact.or_else(around).unwrap_or(0..0)
    }
}

/// The place of a key's value: the keys of the tables around it, then its own, with dots between.
fn place(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let value = table.get(first)?;
    match value.get_ref() {
        DeValue::Table(below) if !rest.is_empty() => place(below, rest),
        DeValue::Table(_)
        | DeValue::Array(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => rest.is_empty().then(|| value.span()),
    }
}

/// Refuses the first setting that is out of bounds.
pub fn check(given: &Given<'_>) -> Result<(), Outside> {
    controllers(given.controllers)?;
    agents(given.agents)?;
    backoff(given.agents)?;
    let Balance { refuse_one_in, moves_rate, .. } = *given.balance;
    must(refuse_one_in >= 2, &["balance.refuse-one-in"], "must be 2 or more")?;
    above_zero(moves_rate, &["balance.moves-rate"])?;
    let Network { latency_least, latency_most } = *given.network;
    must(
        latency_least <= latency_most,
        &["network.latency-least", "network.latency-most"],
        format!("must be at most `latency-most`, {}", plain(latency_most)),
    )?;
    if let Some(members) = given.members {
        must(members.founders >= 1, &["members.founders"], "must be 1 or more")?;
        must(members.voters >= 1, &["members.voters"], "must be 1 or more")?;
    }
    Ok(())
}

fn controllers(controllers: &Controllers) -> Result<(), Outside> {
    let count = usize::try_from(controllers.count).unwrap_or(usize::MAX);
    let says = format!("must be 1 to {PEERS_MAX}, as in production");
    must((1..=PEERS_MAX).contains(&count), &["controllers.count"], says)?;
    counts(controllers.connections_max, &["controllers.connections-max"])?;
    counts(controllers.held_max, &["controllers.held-max"])?;
    counts(controllers.logins_min, &["controllers.logins-min"])?;
    counts(controllers.logins_max, &["controllers.logins-max"])?;
    counts(controllers.waiting_max, &["controllers.waiting-max"])?;
    counts(controllers.batch_max, &["controllers.batch-max"])?;
    let rate = controllers.agent_ratelimit_rate;
    rate.map_or(Ok(()), |rate| above_zero(rate, &["controllers.agent-ratelimit-rate"]))?;
    let every = controllers.snapshot_every;
    must(every != Some(0), &["controllers.snapshot-every"], "must be 1 or more")
}

fn agents(agents: &Agents) -> Result<(), Outside> {
    size(agents.count, agents.leases, &["agents.count"], &["agents.leases"])?;
    let scale = |scale: &Option<Scale>, count, leases| {
        scale.as_ref().map_or(Ok(()), |scale| size(scale.count, scale.leases, count, leases))
    };
    scale(&agents.direct, &["agents.direct.count"], &["agents.direct.leases"])?;
    scale(&agents.turmoil, &["agents.turmoil.count"], &["agents.turmoil.leases"])?;
    scale(&agents.madsim, &["agents.madsim.count"], &["agents.madsim.leases"])?;
    must(
        agents.renew < agents.claim,
        &["agents.renew", "agents.claim"],
        format!("must be below `claim`, {}: else a leader renews too late", plain(agents.claim)),
    )?;
    must(agents.slow <= 100, &["agents.slow"], "is percent: at most 100")?;
    must(agents.mute <= 100, &["agents.mute"], "is percent: at most 100")
}

fn backoff(agents: &Agents) -> Result<(), Outside> {
    let backoff = &agents.backoff;
    above_zero(backoff.first, &["agents.backoff.first"])?;
    must(
        backoff.first <= backoff.most,
        &["agents.backoff.first", "agents.backoff.most"],
        format!("must be at most `most`, {}", plain(backoff.most)),
    )?;
    let says = "is percent: 100 or more, for a wait that shrinks is no backoff";
    must(backoff.growth >= 100, &["agents.backoff.growth"], says)
}

fn size(
    count: u32,
    leases: u32,
    of_count: &'static [&'static str],
    of_leases: &'static [&'static str],
) -> Result<(), Outside> {
    must(count <= AGENTS_MAX, of_count, format!("must be at most {AGENTS_MAX}"))?;
    let says = format!("must be 1 to {AGENTS_MAX}");
    must((1..=AGENTS_MAX).contains(&leases), of_leases, says)
}

fn counts(count: usize, keys: &'static [&'static str]) -> Result<(), Outside> {
    must((1..=MANY).contains(&count), keys, format!("must be 1 to {MANY}"))
}

fn above_zero(time: Duration, keys: &'static [&'static str]) -> Result<(), Outside> {
    must(!time.is_zero(), keys, "must be above zero")
}

fn must(
    holds: bool,
    keys: &'static [&'static str],
    says: impl Into<String>,
) -> Result<(), Outside> {
    if holds { Ok(()) } else { Err(Outside { keys, says: says.into() }) }
}

fn plain(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Scenario, Setting};

    /// What is said of the story of a new scenario with one setting otherwise.
    fn said(setting: &str) -> Result<(), String> {
        let setting: Setting = setting.parse().expect("it is a setting");
        let story = crate::cli::new::TEMPLATE;
        let parsed = Scenario::parse_with("story", story, &[setting]);
        parsed.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_machine_would_end_over_is_refused_where_it_stands() {
        for (setting, says) in [
            ("controllers.count=0", "`controllers.count` must be 1 to 7"),
            ("controllers.count=8", "`controllers.count` must be 1 to 7"),
            (
                "controllers.connections-max=0",
                "`controllers.connections-max` must be 1 to 1000000000",
            ),
            ("controllers.held-max=0", "`controllers.held-max` must be 1 to"),
            ("controllers.logins-min=0", "`controllers.logins-min` must be 1 to"),
            ("controllers.logins-max=0", "`controllers.logins-max` must be 1 to"),
            ("controllers.waiting-max=0", "`controllers.waiting-max` must be 1 to"),
            ("controllers.batch-max=9223372036854775807", "`controllers.batch-max` must be 1 to"),
            (
                "controllers.agent-ratelimit-rate=0s",
                "`controllers.agent-ratelimit-rate` must be above",
            ),
            ("controllers.snapshot-every=0", "`controllers.snapshot-every` must be 1 or more"),
            ("agents.count=1000001", "`agents.count` must be at most 1000000"),
            ("agents.leases=0", "`agents.leases` must be 1 to 1000000"),
            ("agents.turmoil.leases=0", "`agents.turmoil.leases` must be 1 to"),
            ("agents.renew=20s", "`agents.renew` must be below `claim`, 20s"),
            ("agents.claim=5s", "`agents.renew` must be below `claim`, 5s"),
            ("agents.slow=101", "`agents.slow` is percent"),
            ("agents.mute=101", "`agents.mute` is percent"),
            ("agents.backoff.first=0s", "`agents.backoff.first` must be above zero"),
            ("agents.backoff.most=2s", "`agents.backoff.first` must be at most `most`, 2s"),
            ("agents.backoff.growth=99", "`agents.backoff.growth` is percent"),
            ("balance.refuse-one-in=1", "`balance.refuse-one-in` must be 2 or more"),
            ("balance.moves-rate=0s", "`balance.moves-rate` must be above zero"),
            ("network.latency-least=6ms", "`network.latency-least` must be at most `latency-most`"),
            ("members.founders=0", "`members.founders` must be 1 or more"),
            ("members.voters=0", "`members.voters` must be 1 or more"),
        ] {
            let error = said(setting).expect_err(setting);
            let (place, rest) = error.split_once(": ").expect("a place goes before it");
            assert!(rest.starts_with(says), "{setting}: {error}");
            assert!(place.starts_with(&format!("story with {setting}:")), "{error}");
            // The line that is shown is that of the key, or of one that it was measured by.
            let (_, value) = setting.split_once('=').expect("it is a setting");
            let shown = error.lines().nth(2).expect("the line is shown");
            assert!(shown.contains(value), "{error}");
        }
    }

    #[test]
    fn the_ends_themselves_are_taken() {
        for setting in [
            "controllers.count=7",
            "controllers.batch-max=1000000000",
            "agents.count=0",
            "agents.leases=1",
            "agents.renew=19s",
            "agents.slow=100",
            "agents.backoff.growth=100",
            "balance.refuse-one-in=2",
            "network.latency-least=5ms",
            "members.founders=1",
        ] {
            assert_eq!(said(setting), Ok(()), "{setting}");
        }
    }
}
