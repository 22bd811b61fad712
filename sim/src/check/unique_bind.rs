//! A controller binds its controller door to an address that its file names beyond doubt: the only
//! one that others can reach, or the only one of those in the local cloud.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::addresses::Scope;
use portcullis_core::bind::{self, Candidate};
use portcullis_core::controller::{Input, Output};
use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct UniqueBind {
    /// Since its start, every address that a controller's file named beyond doubt.
    named: BTreeMap<NodeId, BTreeSet<String>>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let addresses = plan.settings.addresses.as_ref()?;
    addresses.bind_files.then(|| Box::new(UniqueBind { named: BTreeMap::new() }) as Box<dyn Check>)
}

impl Check for UniqueBind {
    fn name(&self) -> &'static str {
        "unique_bind"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "003",
            text: "The charm must be able to determine a unique address in the local-cloud scope \
                   before it is shared with other units and written to the configuration file.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Ordered])
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.named.remove(&node);
                Ok(())
            }
            (
                Who::Controller(node),
                Event::Told(Input::Offered { offer: bind::Input::Read { candidates } }),
            ) => {
                let named = unique(candidates).map(|only| only.host.clone());
                self.named.entry(node).or_default().extend(named);
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Bind { host })) => {
                let named = self.named.get(&node).is_some_and(|named| named.contains(host));
                let error = || format!("{node} binds {host}, which its file does not name alone");
                if named { Ok(()) } else { Err(error()) }
            }
            (_, Event::Did(_) | Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {
                Ok(())
            }
        }
    }
}

/// The one that is meant, if there is no doubt.
fn unique(candidates: &[Candidate]) -> Option<&Candidate> {
    let only = |near: bool| {
        let fits = |candidate: &&Candidate| {
            let scope = candidate.scope;
            scope != Scope::LinkLocal && (!near || scope == Scope::LocalCloud)
        };
        let fitting: BTreeSet<&Candidate> = candidates.iter().filter(fits).collect();
        fitting.first().copied().filter(|_| fitting.len() == 1)
    };
    only(false).or_else(|| only(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{ONE, Story};

    /// The file names these, and the controller binds this one.
    fn binds(hosts: &[&str], host: &str) -> Result<(), String> {
        let mut story = Story::new(
            make,
            "[controllers]\ncontroller-api-port = 17022\n[members]\n[addresses]\nbind-files = true\n",
        );
        let candidate = |host: &&str| Candidate { host: (*host).into(), scope: Scope::of(host) };
        let candidates = hosts.iter().map(candidate).collect();
        let offer = bind::Input::Read { candidates };
        story.told(0, ONE, Input::Offered { offer })?;
        story.ordered(0, ONE, Output::Bind { host: host.into() })
    }

    #[test]
    fn an_address_that_is_one_of_several_is_caught() {
        assert_eq!(binds(&["10.0.0.1"], "10.0.0.1"), Ok(()));
        assert_eq!(binds(&["10.0.0.1", "203.0.113.1"], "10.0.0.1"), Ok(()));
        assert!(binds(&["10.0.0.1", "10.9.0.1"], "10.0.0.1").is_err());
        assert!(binds(&["10.0.0.1"], "10.0.0.2").is_err());
        assert!(binds(&["169.254.0.3"], "169.254.0.3").is_err());
    }
}
