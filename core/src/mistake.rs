//! Mistakes that the machines make when they are told to, so that whoever checks them is checked.
//!
//! A check that never caught anything may be one that never will. Each mistake here is one that
//! somebody could make in earnest; `cargo sim validate`, and `models.rs`, `fuzz.rs` and
//! `lease_model.rs` of `tests/`, make them one by one, and each must be caught: in the assembled
//! system always, and by the test that it names.
//!
//! No release has them: without debug assertions [`Mistake::made`] is `false` for the compiler,
//! which leaves nothing of them behind, and nothing can choose one. The choice is the only state of
//! this crate that belongs to a process, for no machine may carry what production never needs; one
//! run is one process.

use core::fmt;

/// Something done wrong on purpose. The comment at each says what is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mistake {
    /// A lease expires a second late.
    LateExpiry = 1,
    /// A lease expires a second early.
    EarlyExpiry,
    /// A grant gets no fence of its own.
    FenceStill,
    /// A claim by another extends the lease, and counts as granted.
    ClaimTakes,
    /// An extension by another extends the lease, and counts as granted.
    ExtensionTakes,
    /// What is void is done all the same, and nothing that waits ends at its deadline. The table's half
    /// alone would show nowhere: a queue that looks at deadlines proposes nothing that is void by the
    /// time that its entry carries.
    VoidDone,
    /// Time since the anchor is added twice.
    DoubleAdvance,
    /// The clock's own entry waits where others fly, and they bring no time. If they did, one of them
    /// would bring it no later than the clock's own.
    ClockWaits,
    /// A claim is granted when it is proposed.
    EarlyGrant,
    /// An ask is answered twice: by the queue, which whoever handed it on would not pass on, and by
    /// that one.
    DoubleAnswer,
    /// What is taken back is not taken back.
    CancelLost,
    /// Nobody looks at the deadlines of asks.
    DeadlineForgotten,
    /// What may have been done is called expired: by the queue, whose asker has stopped listening by the
    /// time that a leader learns of its deposition, and by whoever handed it on.
    UnknownDenied,
    /// An entry carries everything that waits.
    BatchUnlimited,
    /// Everybody is let into the queue.
    QueueUnlimited,
    /// Whoever waits for a release is never woken.
    WaiterForgotten,
    /// Tries are repeated whatever the budget says.
    BudgetIgnored,
    /// An agent believes for twice its lease's duration that it leads.
    LeadsTooLong,
    /// The flag of what must run once stays up for twice the lease's duration.
    FlagTooLong,
    /// Who stands at the door is let in before the controller is ready.
    HoldForgotten,
    /// The API door opens without its delay.
    DelayForgotten,
    /// The API door stays open however long the controller is not ready.
    LossIgnored,
    /// A permit that was used still counts as out.
    PermitLeak,
    /// Who leaves before it has logged in still counts as logging in.
    LoginLeak,
    /// Ten times as many log in at once as may, and as are measured to be served.
    AdmissionOff,
    /// The token bucket never runs empty.
    PaceIgnored,
    /// The wait after a failure never grows.
    NoBackoff,
    /// Waits are not drawn: all who failed together come back together.
    NoJitter,
    /// An agent follows redirects without end.
    RedirectsForgotten,
    /// Who was moved may be moved again at once, for the least surplus.
    NoHysteresis,
    /// The count of a controller that fell silent is believed for ever.
    StaleCount,
    /// The surplus is sent to whoever has the most.
    SurplusToFullest,
    /// All who are too many are sent away at once.
    MovedAtOnce,
    /// Voters are changed whether a majority is there or not.
    QuorumForgotten,
    /// A leader takes the vote from itself first.
    DemotesItself,
    /// The name of a member is given to the next as well.
    NameReused,
    /// Who stops sends nobody away.
    DrainForgets,
    /// What an agent is told while it is connected is not written down.
    ListIgnored,
    /// A controller without an address in the agents' space is told of with none, and an agent that is
    /// told of nobody writes that down. Either alone covers for the other.
    EmptyWritten,
    /// Of several addresses that may be meant the first is bound.
    AmbiguousBound,
    /// Who is removed stays a member.
    RemovedStays,
    /// A front believes for ever that a controller is up which was once.
    FrontBlind,
    /// A snapshot leaves out who pins what.
    PinsLeftOut,
    /// A table that was restored knows of no lease when it ends.
    ExpiriesLeftOut,
    /// A table that was restored ends pinned leases as well.
    PinnedExpire,
    /// A snapshot has the highest fence of the leases that are held for the highest ever granted.
    FenceOfHeld,
}

/// A suite, and a test in it.
type Proof = Option<(&'static str, &'static str)>;

/// What is to be known of a mistake.
struct About {
    name: &'static str,
    proof: Proof,
}

const CLOCK: Proof = Some(("models", "leases::a_clock_beside_claims"));
const LEADERS: Proof = Some(("models", "leases::two_leaders_and_one_lease"));
const ASKS: Proof = Some(("models", "leases::two_holders_and_three_asks"));
const NARROW: Proof = Some(("models", "leases::a_narrow_queue_whose_askers_leave"));
const LATE: Proof = Some(("models", "leases::a_late_queue"));
const DOORS: Proof = Some(("models", "listener::a_door_for_controllers_and_one_for_agents"));
const FIRST: Proof = Some(("models", "listener::one_port_at_which_controllers_go_first"));
const SILENT: Proof = Some(("models", "roles::four_members_of_which_some_fall_silent"));
const ADVANCE: Proof = Some(("fuzz", "queue::an_advance_never_waits_behind_claims"));
const BALANCER: Proof = Some(("fuzz", "balancer::balancer"));
const FEWEST: Proof = Some(("fuzz", "balancer::the_surplus_goes_to_whoever_has_the_fewest"));
const CIRCLE: Proof = Some(("fuzz", "clients::nobody_follows_redirects_without_end"));
const GROW: Proof = Some(("fuzz", "rates::waits_grow_with_each_failure"));
const SPREAD: Proof = Some(("fuzz", "rates::waits_are_spread_over_their_bound"));
const WAKES: Proof = Some(("fuzz", "waiting::a_lease_that_stays_free_wakes_everybody_in_time"));
const TABLE: Proof = Some(("lease_model", "the_table_agrees_with_the_reference"));
const FLAG: Proof = Some(("models", "singular::two_that_want_one_flag"));

impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 46] = [
        Mistake::LateExpiry,
        Mistake::EarlyExpiry,
        Mistake::FenceStill,
        Mistake::ClaimTakes,
        Mistake::ExtensionTakes,
        Mistake::VoidDone,
        Mistake::DoubleAdvance,
        Mistake::ClockWaits,
        Mistake::EarlyGrant,
        Mistake::DoubleAnswer,
        Mistake::CancelLost,
        Mistake::DeadlineForgotten,
        Mistake::UnknownDenied,
        Mistake::BatchUnlimited,
        Mistake::QueueUnlimited,
        Mistake::WaiterForgotten,
        Mistake::BudgetIgnored,
        Mistake::LeadsTooLong,
        Mistake::FlagTooLong,
        Mistake::HoldForgotten,
        Mistake::DelayForgotten,
        Mistake::LossIgnored,
        Mistake::PermitLeak,
        Mistake::LoginLeak,
        Mistake::AdmissionOff,
        Mistake::PaceIgnored,
        Mistake::NoBackoff,
        Mistake::NoJitter,
        Mistake::RedirectsForgotten,
        Mistake::NoHysteresis,
        Mistake::StaleCount,
        Mistake::SurplusToFullest,
        Mistake::MovedAtOnce,
        Mistake::QuorumForgotten,
        Mistake::DemotesItself,
        Mistake::NameReused,
        Mistake::DrainForgets,
        Mistake::ListIgnored,
        Mistake::EmptyWritten,
        Mistake::AmbiguousBound,
        Mistake::RemovedStays,
        Mistake::FrontBlind,
        Mistake::PinsLeftOut,
        Mistake::ExpiriesLeftOut,
        Mistake::PinnedExpire,
        Mistake::FenceOfHeld,
    ];

    /// The mistake of this name.
    pub fn named(name: &str) -> Option<Mistake> {
        Mistake::ALL.into_iter().find(|mistake| mistake.about().name == name)
    }

    /// The suite under `tests/` and the test in it that catches it, if one is to.
    pub fn proof(self) -> Option<(&'static str, &'static str)> {
        self.about().proof
    }

    fn about(self) -> About {
        let (name, proof) = match self {
            Mistake::LateExpiry => ("late-expiry", ASKS),
            Mistake::EarlyExpiry => ("early-expiry", ASKS),
            Mistake::FenceStill => ("fence-still", ASKS),
            Mistake::ClaimTakes => ("claim-takes", LEADERS),
            Mistake::ExtensionTakes => ("extension-takes", ASKS),
            Mistake::VoidDone => ("void-done", LATE),
            Mistake::DoubleAdvance => ("double-advance", CLOCK),
            Mistake::ClockWaits => ("clock-waits", ADVANCE),
            Mistake::EarlyGrant => ("early-grant", LEADERS),
            Mistake::DoubleAnswer => ("double-answer", LEADERS),
            Mistake::CancelLost => ("cancel-lost", NARROW),
            Mistake::DeadlineForgotten => ("deadline-forgotten", LEADERS),
            Mistake::UnknownDenied => ("unknown-denied", LEADERS),
            Mistake::BatchUnlimited => ("batch-unlimited", ASKS),
            Mistake::QueueUnlimited => ("queue-unlimited", NARROW),
            Mistake::WaiterForgotten => ("waiter-forgotten", WAKES),
            Mistake::BudgetIgnored => ("budget-ignored", None),
            Mistake::LeadsTooLong => ("leads-too-long", None),
            Mistake::FlagTooLong => ("flag-too-long", FLAG),
            Mistake::HoldForgotten => ("hold-forgotten", FIRST),
            Mistake::DelayForgotten => ("delay-forgotten", DOORS),
            Mistake::LossIgnored => ("loss-ignored", DOORS),
            Mistake::PermitLeak => ("permit-leak", DOORS),
            Mistake::LoginLeak => ("login-leak", DOORS),
            Mistake::AdmissionOff => ("admission-off", FIRST),
            Mistake::PaceIgnored => ("pace-ignored", None),
            Mistake::NoBackoff => ("no-backoff", GROW),
            Mistake::NoJitter => ("no-jitter", SPREAD),
            Mistake::RedirectsForgotten => ("redirects-forgotten", CIRCLE),
            Mistake::NoHysteresis => ("no-hysteresis", None),
            Mistake::StaleCount => ("stale-count", BALANCER),
            Mistake::SurplusToFullest => ("surplus-to-fullest", FEWEST),
            Mistake::MovedAtOnce => ("moved-at-once", None),
            Mistake::QuorumForgotten => ("quorum-forgotten", SILENT),
            Mistake::DemotesItself => ("demotes-itself", SILENT),
            Mistake::NameReused => ("name-reused", None),
            Mistake::DrainForgets => ("drain-forgets", None),
            Mistake::ListIgnored => ("list-ignored", None),
            Mistake::EmptyWritten => ("empty-written", None),
            Mistake::AmbiguousBound => ("ambiguous-bound", None),
            Mistake::RemovedStays => ("removed-stays", None),
            Mistake::FrontBlind => ("front-blind", None),
            Mistake::PinsLeftOut => ("pins-left-out", TABLE),
            Mistake::ExpiriesLeftOut => ("expiries-left-out", TABLE),
            Mistake::PinnedExpire => ("pinned-expire", TABLE),
            Mistake::FenceOfHeld => ("fence-of-held", TABLE),
        };
        About { name, proof }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.about().name)
    }
}

#[cfg(debug_assertions)]
mod choice {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Mistake;

    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    impl Mistake {
        /// Makes it from here on, in this process, and says whether that can be done.
        pub fn make(self) -> bool {
            CHOSEN.store(self as u8, Ordering::Relaxed);
            true
        }

        /// Whether it is to be made.
        pub(crate) fn made(self) -> bool {
            CHOSEN.load(Ordering::Relaxed) == self as u8
        }
    }
}

#[cfg(not(debug_assertions))]
mod choice {
    use super::Mistake;

    impl Mistake {
        /// Makes nothing: this build has no mistakes.
        pub fn make(self) -> bool {
            false
        }

        /// Never.
        pub(crate) const fn made(self) -> bool {
            false
        }
    }

    // The compiler itself finds that a release makes none, whatever is chosen while it runs.
    const _: () = {
        let mut index = 0;
        while index < Mistake::ALL.len() {
            assert!(!Mistake::ALL[index].made(), "a release makes a mistake");
            index += 1;
        }
    };
}
