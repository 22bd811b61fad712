use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::lease::{Command, Entry, Leases, Operation, Outcome, PINS_MAX};
use portcullis_core::{GlobalTime, Machine, Time, Timeout};

use super::{Story, claim, key, lasting, time};

/// The table told as a story: it is no machine itself, for it knows no local time.
struct Table(Leases);

/// One entry, or a trip through a snapshot.
enum Input {
    Entry(Entry),
    Snapshot,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Entry(entry) => {
                write!(f, "{entry}")?;
                for command in &*entry.commands {
                    write!(f, "; {}", command.operation)?;
                    if command.void_after < GlobalTime(u64::MAX) {
                        write!(f, ", void after {}", command.void_after)?;
                    }
                }
                Ok(())
            }
            Input::Snapshot => f.write_str("goes through a snapshot"),
        }
    }
}

impl Machine for Table {
    type Input = Input;
    type Output = String;

    fn handle(&mut self, _: Time, input: Input, out: &mut Vec<String>) {
        match input {
            Input::Entry(entry) => {
                let applied = self.0.apply(&entry);
                let word = |outcome: &Outcome| match outcome {
                    Ok(done) => done.to_string(),
                    Err(refusal) => format!("refused: {refusal}"),
                };
                out.extend(applied.outcomes.iter().map(word));
                out.extend(applied.released.iter().map(|key| format!("released {key}")));
            }
            Input::Snapshot => {
                let restored = Leases::restore(self.0.snapshot());
                assert_eq!(restored, self.0, "a snapshot loses nothing");
                self.0 = restored;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        None
    }

    fn handle_timeout(&mut self, _: Time, _: &mut Vec<String>) {}
}

fn story() -> Story<Table> {
    Story::of(Table(Leases::default()))
}

fn global(text: &str) -> GlobalTime {
    GlobalTime(time(text).0)
}

fn entry(now: &str, operations: Vec<Operation>) -> Input {
    let command = |operation| Command { operation, void_after: GlobalTime(u64::MAX) };
    let commands = operations.into_iter().map(command).collect();
    Input::Entry(Entry { now: global(now), commands })
}

fn extend(holder: &str, duration: Duration) -> Operation {
    Operation::Extend { key: key("mysql"), holder: holder.into(), duration }
}

fn revoke(holder: &str) -> Operation {
    Operation::Revoke { key: key("mysql"), holder: holder.into() }
}

fn pin(entity: &str) -> Operation {
    Operation::Pin { key: key("mysql"), entity: entity.into() }
}

fn unpin(entity: &str) -> Operation {
    Operation::Unpin { key: key("mysql"), entity: entity.into() }
}

fn held(table: &Table) -> String {
    let line = |(key, lease): (_, &portcullis_core::lease::Lease)| {
        format!("{key} by {} until {}, fence {}", lease.holder, lease.expiry, lease.fence)
    };
    table.0.iter().map(line).collect::<Vec<_>>().join(", ")
}

#[test]
fn claimed_denied_and_expired() {
    story()
        .tell(entry("10s", vec![claim("mysql", "mysql/0"), claim("mysql", "mysql/1")]))
        .tell(entry("69.999999s", vec![claim("mysql", "mysql/1")]))
        .tell(entry("70s", vec![claim("mysql", "mysql/1")]))
        .ask("held", held)
        .reads("lease/claimed_denied_and_expired");
}

#[test]
fn a_claim_by_the_holder_extends() {
    story()
        .tell(entry("10s", vec![claim("mysql", "mysql/0")]))
        .tell(entry("40s", vec![claim("mysql", "mysql/0")]))
        .tell(entry("70s", vec![]))
        .ask("held", held)
        .tell(entry("100s", vec![]))
        .reads("lease/a_claim_by_the_holder_extends");
}

#[test]
fn extending_never_shortens() {
    story()
        .tell(entry("10s", vec![claim("mysql", "mysql/0")]))
        .tell(entry("11s", vec![extend("mysql/0", lasting("5s"))]))
        .tell(entry("12s", vec![extend("mysql/0", lasting("90s"))]))
        .tell(entry("13s", vec![claim("mysql", "mysql/0")]))
        .tell(entry("101.9s", vec![]))
        .ask("held", held)
        .reads("lease/extending_never_shortens");
}

#[test]
fn only_the_holder_extends_and_revokes() {
    story()
        .tell(entry("1s", vec![extend("mysql/0", lasting("5s")), revoke("mysql/0")]))
        .tell(entry("2s", vec![claim("mysql", "mysql/0")]))
        .tell(entry("3s", vec![extend("mysql/1", lasting("5s")), revoke("mysql/1")]))
        .tell(entry("4s", vec![revoke("mysql/0"), revoke("mysql/0")]))
        .tell(entry("5s", vec![claim("mysql", "mysql/1")]))
        .tell(entry("62s", vec![]))
        .ask("held", held)
        .reads("lease/only_the_holder_extends_and_revokes");
}

#[test]
fn every_grant_has_a_higher_fence() {
    story()
        .tell(entry("1s", vec![claim("mysql", "mysql/0"), claim("pg", "pg/0")]))
        .tell(entry("2s", vec![claim("mysql", "mysql/0"), revoke("mysql/0")]))
        .tell(entry("3s", vec![claim("mysql", "mysql/0")]))
        .tell(Input::Snapshot)
        .tell(entry("100s", vec![claim("pg", "pg/1"), claim("mysql", "mysql/0")]))
        .reads("lease/every_grant_has_a_higher_fence");
}

#[test]
fn a_pinned_lease_does_not_expire() {
    story()
        .tell(entry("1s", vec![claim("mysql", "mysql/0"), pin("machine-1"), pin("machine-2")]))
        .tell(entry("100s", vec![claim("mysql", "mysql/1"), unpin("machine-1")]))
        .tell(Input::Snapshot)
        .tell(entry("200s", vec![unpin("machine-1"), unpin("machine-2")]))
        .ask("held", held)
        .tell(entry("200s", vec![claim("mysql", "mysql/1")]))
        .reads("lease/a_pinned_lease_does_not_expire");
}

#[test]
fn a_pinned_lease_may_be_extended_and_revoked() {
    story()
        .tell(entry("1s", vec![pin("machine-1"), claim("mysql", "mysql/0")]))
        .tell(entry("100s", vec![extend("mysql/0", lasting("10s"))]))
        .tell(entry("101s", vec![unpin("machine-1")]))
        .tell(entry("109s", vec![pin("machine-1")]))
        .tell(entry("200s", vec![revoke("mysql/0"), claim("mysql", "mysql/1")]))
        .tell(entry("300s", vec![]))
        .ask("held", held)
        .reads("lease/a_pinned_lease_may_be_extended_and_revoked");
}

#[test]
fn a_command_that_was_given_up_does_nothing() {
    let command = |void_after| Command { operation: claim("mysql", "mysql/0"), void_after };
    let given_up = |now, void_after| {
        Input::Entry(Entry { now: global(now), commands: [command(global(void_after))].into() })
    };
    story()
        .tell(given_up("10s", "9.999999s"))
        .ask("held", held)
        .tell(given_up("5s", "9.999999s"))
        .tell(given_up("10s", "10s"))
        .reads("lease/a_command_that_was_given_up_does_nothing");
}

#[test]
fn the_clock_never_goes_back() {
    story()
        .tell(entry("100s", vec![claim("mysql", "mysql/0")]))
        .tell(entry("50s", vec![claim("pg", "pg/0")]))
        .ask("now", |table| table.0.now().to_string())
        .tell(entry("159s", vec![]))
        .tell(entry("160s", vec![]))
        .reads("lease/the_clock_never_goes_back");
}

#[test]
fn leases_that_expire_together_go_in_order() {
    let claims = ["c", "a", "b"].map(|lease| claim(lease, "x/0")).to_vec();
    story()
        .tell(entry("1s", claims))
        .tell(entry(
            "90s",
            vec![claim("a", "x/1"), Operation::Revoke { key: key("a"), holder: "x/1".into() }],
        ))
        .reads("lease/leases_that_expire_together_go_in_order");
}

#[test]
fn pins_have_a_limit() {
    let mut table = Leases::default();
    let command = |entity: Arc<str>| Command {
        operation: Operation::Pin { key: key("mysql"), entity },
        void_after: GlobalTime(u64::MAX),
    };
    let commands =
        (0..=PINS_MAX).map(|entity| command(format!("machine-{entity}").into())).collect();
    let outcomes = table.apply(&Entry { now: GlobalTime(0), commands }).outcomes;
    assert!(outcomes[..PINS_MAX].iter().all(Result::is_ok), "there is room for all but one");
    assert!(outcomes[PINS_MAX].is_err(), "the last one finds no room");
    let again = Entry { now: GlobalTime(0), commands: [command("machine-7".into())].into() };
    assert!(table.apply(&again).outcomes[0].is_ok(), "one that pins already may pin again");
}
