//! The explorer, and what the models share.
//!
//! Two traps of the checker are avoided here. It may miss that something never comes about when two
//! courses meet in one state, so every `eventually` of ours is a function of the state alone, which
//! remembers what has happened. And it takes a circle for no end, so in every model time goes on
//! until it is over.

use std::fmt::{self, Debug, Write};
use std::hash::{Hash, Hasher};

use portcullis_core::Time;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use crate::mistakes::choose;

/// Moments that are told apart, a second each.
pub type Tick = u64;

/// The time of a machine at a tick.
pub fn time(tick: Tick) -> Time {
    Time(tick * 1_000_000)
}

/// A machine as a part of a state, told apart from others by everything that its `Debug` shows.
#[derive(Clone)]
pub struct Shown<M>(pub M);

impl<M: Debug> Debug for Shown<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<M: Debug> Hash for Shown<M> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        struct Text<'a, H>(&'a mut H);
        impl<H: Hasher> Write for Text<'_, H> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        write!(Text(hasher), "{:?}", self.0).expect("hashing a text never fails");
    }
}

impl<M: Debug> PartialEq for Shown<M> {
    fn eq(&self, other: &Shown<M>) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// A state that knows whether a promise was broken on the way to it, and which.
pub trait Judged {
    fn broken(&self) -> Option<&'static str>;
}

impl<M: Judged> Judged for Shown<M> {
    fn broken(&self) -> Option<&'static str> {
        self.0.broken()
    }
}

/// Breaks a promise unless it is kept.
pub fn demand(kept: bool, promise: &'static str) -> Result<(), &'static str> {
    kept.then_some(()).ok_or(promise)
}

/// What holds in every state of every model.
pub fn kept<M: Model<State: Judged>>() -> Property<M> {
    Property::always("every promise is kept", |_, state: &M::State| state.broken().is_none())
}

/// Most steps that a model may take: some seconds' worth. One that needs more is not explored.
const STEPS_MAX: usize = 1_500_000;

/// Explores a model to its end, and says what was found to be wrong, if anything was.
///
/// A model of fewer than `least` states is wrong by itself: it would prove nothing.
pub fn explore<M>(name: &str, least: usize, model: M) -> Result<(), String>
where
    M: Model<State: Judged + Clone + Debug + Hash + PartialEq + Send + Sync>
        + Send
        + Sync
        + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    choose();
    let builder = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = builder.target_state_count(STEPS_MAX).spawn_dfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    println!("{name}: {states} states by {steps} steps, at most {} deep", checker.max_depth());
    judge(&checker).map_err(|wrong| format!("{name}: {wrong}"))?;
    match (states >= least, steps < STEPS_MAX) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{name}: only {states} states, of {least} at least")),
        (true, false) => Err(format!("{name}: no end within {STEPS_MAX} steps")),
    }
}

/// What was found that must not be, and what was not found that must be.
fn judge<M>(checker: &impl Checker<M>) -> Result<(), String>
where
    M: Model<State: Judged + Clone + Debug + Hash + PartialEq>,
    M::Action: Clone + Debug + PartialEq,
{
    let found = |property: &Property<M>| {
        let path = checker.discovery(property.name);
        path.map(|path| {
            let broken = path.last_state().broken().unwrap_or(property.name);
            let end = format!("{:?}", path.last_state());
            let steps: String =
                path.into_actions().iter().map(|step| format!("\n  {step:?}")).collect();
            format!("not so: {broken}{steps}\n{end}")
        })
    };
    for property in checker.model().properties() {
        match (&property.expectation, found(&property)) {
            (Expectation::Always | Expectation::Eventually, Some(wrong)) => return Err(wrong),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
        }
    }
    let missed = |property: &Property<M>| {
        property.expectation == Expectation::Sometimes && found(property).is_none()
    };
    match checker.model().properties().iter().find(|property| missed(property)) {
        Some(property) => Err(format!("too tame, for never: {}", property.name)),
        None => Ok(()),
    }
}

/// Explores a model in which everything is to be well.
pub fn holds<M>(name: &str, least: usize, model: M)
where
    M: Model<State: Judged + Clone + Debug + Hash + PartialEq + Send + Sync>
        + Send
        + Sync
        + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    if let Err(wrong) = explore(name, least, model) {
        panic!("{wrong}");
    }
}
