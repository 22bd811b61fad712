//! Filters: which lines are printed, by who they are from, what they are about and how much they
//! matter.
//!
//! ```text
//! info                                       what this project says, of every node
//! controller-2=debug,agent-17=trace,warn     more of two nodes, little of the others
//! controller=info,controller-2/table=debug   of a node, one machine or module
//! openraft=warn                              what a dependency says: only if it is named
//! ```
//!
//! Of all that match, that with the longest module decides; of those, the one that names a node,
//! then one that names a class of nodes; of equals, the last. What nothing matches is left out.

use std::cmp::Reverse;
use std::str::FromStr;

use portcullis_core::NodeId;
use tracing::Level;

use super::line::MACHINES;
use crate::history::Who;
use crate::plan::{Action, Plan};

/// This project's own crates.
const OURS: &[&str] = &["portcullis", "portcullis_sim"];
/// Dependencies that say something, and where.
const OTHERS: &[&str] = &["openraft", "turmoil", "madsim"];
const LEVELS: &str = "off, error, warn, info, debug or trace";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    directives: Vec<Directive>,
}

/// One part of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directive {
    whose: Whose,
    target: Option<String>,
    /// The least that is let through; none for nothing at all.
    level: Option<Level>,
}

/// Who a directive is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Anybody,
    Controllers,
    Agents,
    One(Who),
}

impl Whose {
    fn is(self, who: Who) -> bool {
        match self {
            Whose::Anybody => true,
            Whose::Controllers => matches!(who, Who::Controller(_)),
            Whose::Agents => matches!(who, Who::Agent(_)),
            Whose::One(one) => one == who,
        }
    }

    /// How much it says.
    fn rank(self) -> u8 {
        match self {
            Whose::Anybody => 0,
            Whose::Controllers | Whose::Agents => 1,
            Whose::One(_) => 2,
        }
    }

    fn parse(name: &str) -> Option<Whose> {
        let number = |name: &str, class: &str| name.strip_prefix(class)?.parse::<u32>().ok();
        Some(match name {
            "world" => Whose::One(Who::World),
            "front" => Whose::One(Who::Front),
            "controller" => Whose::Controllers,
            "agent" => Whose::Agents,
            _ => Whose::One(match number(name, "controller-") {
                Some(node) => Who::Controller(NodeId(node.into())),
                None => Who::Agent(number(name, "agent-")?),
            }),
        })
    }
}

impl Directive {
    fn names(&self, target: &str) -> bool {
        match &self.target {
            Some(module) => is_below(target, module),
            None => is_ours(target),
        }
    }

    fn admits(&self, level: Level) -> bool {
        self.level.is_some_and(|least| level <= least)
    }
}

impl Filter {
    /// Everything that this project has to say.
    pub fn everything() -> Filter {
        let all = Directive { whose: Whose::Anybody, target: None, level: Some(Level::TRACE) };
        Filter { directives: vec![all] }
    }

    /// Whether a line is printed.
    pub fn admits(&self, who: Who, level: Level, target: &str) -> bool {
        let matching = self.directives.iter();
        let matching = matching.filter(|one| one.whose.is(who) && one.names(target));
        let length = |one: &Directive| one.target.as_ref().map_or(0, String::len);
        let decides = matching.rev().min_by_key(|one| Reverse((length(one), one.whose.rank())));
        decides.is_some_and(|one| one.admits(level))
    }

    /// Whether such a line of anybody's may be printed.
    pub fn may_admit(&self, level: Level, target: &str) -> bool {
        self.directives.iter().any(|one| one.names(target) && one.admits(level))
    }

    /// Whether everybody it names is there; if not, who is not.
    pub fn fits(&self, plan: &Plan) -> Result<(), String> {
        let settings = &plan.settings;
        let clients = plan.steps.iter().map(|step| {
            if let Action::Claims(claims) = &step.action { claims.concurrency } else { 0 }
        });
        let agents = clients.fold(settings.agents.count, u32::saturating_add);
        for Directive { whose, .. } in &self.directives {
            match whose {
                Whose::One(Who::Controller(node))
                    if node.0 == 0 || node.0 > settings.controllers.count =>
                {
                    let count = settings.controllers.count;
                    return Err(format!("there is no {node}: the last is controller-{count}"));
                }
                Whose::One(Who::Agent(number)) if *number >= agents => {
                    let last = agents.saturating_sub(1);
                    return Err(format!("there is no agent-{number}: the last is agent-{last}"));
                }
                Whose::One(Who::Front) if settings.front.is_none() => {
                    return Err("there is no front: this scenario has no table `[front]`".into());
                }
                Whose::One(Who::Controller(_) | Who::Agent(_) | Who::Front | Who::World)
                | Whose::Anybody
                | Whose::Controllers
                | Whose::Agents => {}
            }
        }
        Ok(())
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let directives = text.split(',').map(|part| directive(part.trim()));
        Ok(Filter { directives: directives.collect::<Result<_, _>>()? })
    }
}

fn directive(part: &str) -> Result<Directive, String> {
    let Some((name, level)) = part.split_once('=') else {
        let level = self::level(part).map_err(|said| {
            format!("{said}; a node or a module goes before it, as in controller-2=debug")
        })?;
        return Ok(Directive { whose: Whose::Anybody, target: None, level });
    };
    let level = self::level(level.trim()).map_err(|said| format!("{said}, in `{part}`"))?;
    let name = name.trim();
    let (whose, target) = match name.split_once('/') {
        Some((node, target)) => {
            let whose = Whose::parse(node);
            (whose.ok_or_else(|| format!("`{node}` is nobody: {NODES}"))?, Some(target))
        }
        None => match Whose::parse(name) {
            Some(whose) => (whose, None),
            None => (Whose::Anybody, Some(name)),
        },
    };
    if let Some(target) = target.filter(|target| !is_known(target)) {
        let (machines, others) = (MACHINES.join(", "), OTHERS.join(", "));
        return Err(format!(
            "`{target}` is nobody, and no machine or module that says anything: {NODES}; machines \
             are {machines}; modules are those of portcullis, portcullis_sim, {others}"
        ));
    }
    Ok(Directive { whose, target: target.map(str::to_string), level })
}

const NODES: &str = "nodes are controller, controller-2, agent, agent-17, front and world";

fn level(text: &str) -> Result<Option<Level>, String> {
    match text {
        "off" => Ok(None),
        "error" => Ok(Some(Level::ERROR)),
        "warn" => Ok(Some(Level::WARN)),
        "info" => Ok(Some(Level::INFO)),
        "debug" => Ok(Some(Level::DEBUG)),
        "trace" => Ok(Some(Level::TRACE)),
        _ => Err(format!("`{text}` is no level: say {LEVELS}")),
    }
}

fn is_known(target: &str) -> bool {
    let mut crates = OURS.iter().chain(OTHERS);
    MACHINES.contains(&target) || crates.any(|name| is_below(target, name))
}

fn is_ours(target: &str) -> bool {
    MACHINES.contains(&target) || OURS.iter().any(|name| is_below(target, name))
}

/// Whether a module is another, or below it.
fn is_below(target: &str, module: &str) -> bool {
    target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::plan;

    const TWO: Who = Who::Controller(NodeId(2));
    const RAFT: &str = "portcullis::raft::store";

    fn filter(text: &str) -> Filter {
        text.parse().expect("it is a filter")
    }

    #[test]
    fn a_node_says_more_than_its_class_and_that_more_than_all() {
        let filter = filter("controller-2=trace,agent-17=debug,controller=info,warn");
        assert!(filter.admits(TWO, Level::TRACE, "controller"));
        assert!(filter.admits(Who::Controller(NodeId(1)), Level::INFO, RAFT));
        assert!(!filter.admits(Who::Controller(NodeId(1)), Level::DEBUG, RAFT));
        assert!(filter.admits(Who::Agent(17), Level::DEBUG, "agent"));
        assert!(!filter.admits(Who::Agent(16), Level::INFO, "agent"));
        assert!(filter.admits(Who::World, Level::WARN, "plan"));
    }

    #[test]
    fn a_module_says_more_than_a_node() {
        let filter = filter("controller-2=trace,portcullis::raft=off,controller-2/table=warn,info");
        assert!(filter.admits(TWO, Level::TRACE, "portcullis::node"));
        assert!(!filter.admits(TWO, Level::ERROR, RAFT));
        assert!(filter.admits(TWO, Level::TRACE, "portcullis::rafters"));
        assert!(!filter.admits(TWO, Level::INFO, "table"));
        assert!(filter.admits(Who::Controller(NodeId(1)), Level::INFO, "table"));
    }

    #[test]
    fn of_equals_the_last_decides() {
        assert!(filter("warn,debug").admits(TWO, Level::DEBUG, "table"));
        assert!(!filter("debug,warn").admits(TWO, Level::DEBUG, "table"));
        assert!(!filter("controller-2=debug").admits(Who::World, Level::ERROR, "plan"));
    }

    #[test]
    fn dependencies_are_silent_unless_they_are_named() {
        let target = "openraft::core::raft_core";
        assert!(!filter("trace").admits(TWO, Level::ERROR, target));
        assert!(!Filter::everything().may_admit(Level::ERROR, target));
        assert!(filter("openraft=warn").admits(TWO, Level::WARN, target));
        assert!(filter("controller-2/openraft::core=debug").admits(TWO, Level::DEBUG, target));
        assert!(filter("controller-2/openraft::core=debug").may_admit(Level::DEBUG, target));
        assert!(!filter("controller-2/openraft=debug").admits(Who::World, Level::ERROR, target));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_what_would_be() {
        let refused = |text: &str| text.parse::<Filter>().expect_err("it is no filter");
        assert_eq!(
            refused("verbose"),
            "`verbose` is no level: say off, error, warn, info, debug or trace; a node or a module \
             goes before it, as in controller-2=debug"
        );
        assert_eq!(
            refused("info,agent-1=loud"),
            "`loud` is no level: say off, error, warn, info, debug or trace, in `agent-1=loud`"
        );
        assert!(refused("info,").starts_with("`` is no level"));
        assert!(refused("contoller-2=info").starts_with("`contoller-2` is nobody, and no machine"));
        assert!(refused("everybody/table=info").starts_with("`everybody` is nobody: nodes are"));
        assert!(refused("agent-1/tables=info").starts_with("`tables` is nobody, and no machine"));
        assert!(refused("agent-x=info").starts_with("`agent-x` is nobody"));
    }

    #[test]
    fn whoever_is_not_there_is_refused() {
        let plan = plan("");
        let count = plan.settings.agents.count;
        let fits = |text: &str| filter(text).fits(&plan);
        assert_eq!(fits("controller-3=info,agent-0=trace,world=off,info"), Ok(()));
        let said = fits("controller-4=info").expect_err("there are three");
        assert_eq!(said, "there is no controller-4: the last is controller-3");
        assert!(fits(&format!("agent-{count}=info")).is_err());
        assert!(fits("front=info").expect_err("there is none").contains("`[front]`"));
    }
}
