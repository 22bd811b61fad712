//! What a plan's line can say: the faults and the workloads, and on whom.
//!
//! One vocabulary for scenario files (TOML) and plans (text).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use portcullis_core::NodeId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::addresses::{Hosts, Written};
use crate::scenario::runs;
use crate::settings::{Bytes, Span};

/// What is done to the world.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Action {
    /// The process dies as by `kill -9`; the host drops its connections. It starts again at the
    /// end.
    Crash { node: Role },
    /// The process dies and starts again at once.
    Restart { node: Role },
    /// The process is told to stop, as by a service manager: it gives up its role and sends its
    /// agents elsewhere. It starts again at the end.
    Stop { node: Role },
    /// Direct: the process is stopped by its kernel (`SIGSTOP`, a stopped virtual machine), and goes
    /// on at the end: it does nothing, and nothing of its is closed.
    Pause { node: Role },
    /// A controller that was not there joins the cluster.
    Join { node: Role },
    /// A controller leaves the cluster for ever. Its process runs on until it knows.
    Remove { node: Role },
    /// Direct: the operator switches the controller port on or off, with everything running.
    ControllerPort { node: Role, on: bool },
    /// Direct: somebody writes the file that says where the controller door is to be bound: hosts, or
    /// `garbled`, or `gone`. A host becomes one of the controller's.
    BindFile { node: Role, says: Written },
    /// Direct: the controller has these hosts, such as `10.0.0.1@mgmt` in the space `mgmt`, and every
    /// controller is told so by its operator. Nobody answers at those that it had before.
    ApiAddresses { node: Role, are: Hosts },
    /// Direct: the controller cannot reach itself.
    LoseItself { node: Role },
    /// What is sent is lost, and so are the connections; `one-way`, only from `from` to `to`.
    Partition {
        from: Group,
        to: Group,
        #[serde(default, rename = "one-way")]
        one_way: bool,
    },
    /// What is sent waits, both ways, and is delivered at the end.
    Hold { from: Group, to: Group },
    /// Every message takes this much longer, both ways.
    SlowLink {
        from: Group,
        to: Group,
        #[serde(with = "Span")]
        by: Duration,
    },
    /// Direct: every write that must be durable takes this much longer.
    SlowDisk {
        node: Role,
        #[serde(with = "Span")]
        by: Duration,
    },
    /// Every agent drops its connection and returns.
    Herd,
    /// Every agent's process dies and starts again at once, without anything that it knew.
    RestartAgents,
    /// Direct: processes are killed at this much memory instead.
    OomLimit { memory: Bytes },
    /// Claims beyond those of the agents.
    #[serde(skip)]
    Claims(Claims),
}

/// A burst of claims, from clients that may take them back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Claims {
    /// How many in all.
    pub count: u32,
    /// How many at once, each on a connection of its own.
    pub concurrency: u32,
    /// How long each waits for its answer.
    #[serde(with = "Span")]
    pub patience: Duration,
    /// How many of a hundred are taken back while they wait.
    pub cancel_percent: u32,
}

/// Whom an action is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Role {
    /// This one.
    Controller(NodeId),
    /// Whoever leads when it happens.
    Leader,
    /// Whoever runs the first of the workers that run on one controller alone.
    Holder,
    /// Drawn when the plan is.
    Random,
    /// Every controller.
    All,
    /// Every controller that the other side does not name.
    Others,
    /// Every agent.
    Agents,
}

/// Several of them, separated by spaces.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Group(pub Vec<Role>);

impl Action {
    /// Whether it goes on for a while, and so can have an end.
    pub fn lasts(&self) -> bool {
        match self {
            Action::Crash { .. }
            | Action::Stop { .. }
            | Action::Pause { .. }
            | Action::LoseItself { .. }
            | Action::Partition { .. }
            | Action::Hold { .. }
            | Action::SlowLink { .. }
            | Action::SlowDisk { .. }
            | Action::OomLimit { .. } => true,
            Action::Restart { .. }
            | Action::Join { .. }
            | Action::Remove { .. }
            | Action::ControllerPort { .. }
            | Action::BindFile { .. }
            | Action::ApiAddresses { .. }
            | Action::Herd
            | Action::RestartAgents
            | Action::Claims(_) => false,
        }
    }

    /// Whether it is about where controllers are.
    pub fn moves_controllers(&self) -> bool {
        matches!(self, Action::BindFile { .. } | Action::ApiAddresses { .. })
    }

    /// Whether it is about who belongs to the cluster.
    pub fn changes_members(&self) -> bool {
        match self {
            Action::Join { .. } | Action::Remove { .. } => true,
            Action::Crash { .. }
            | Action::Restart { .. }
            | Action::Stop { .. }
            | Action::Pause { .. }
            | Action::ControllerPort { .. }
            | Action::BindFile { .. }
            | Action::ApiAddresses { .. }
            | Action::LoseItself { .. }
            | Action::Partition { .. }
            | Action::Hold { .. }
            | Action::SlowLink { .. }
            | Action::SlowDisk { .. }
            | Action::Herd
            | Action::RestartAgents
            | Action::OomLimit { .. }
            | Action::Claims(_) => false,
        }
    }

    /// Whether it makes sense among this many controllers; if not, why.
    pub fn fits(&self, controllers: u64) -> Result<(), String> {
        let known = |role: &Role| match role {
            Role::Controller(node) if node.0 == 0 || node.0 > controllers => Err(format!(
                "there is no {node}: they are controller-1 to controller-{controllers}"
            )),
            Role::Controller(_)
            | Role::Leader
            | Role::Holder
            | Role::Random
            | Role::All
            | Role::Others
            | Role::Agents => Ok(()),
        };
        match self {
            Action::Crash { node }
            | Action::Restart { node }
            | Action::Stop { node }
            | Action::Pause { node }
            | Action::Join { node }
            | Action::Remove { node }
            | Action::ControllerPort { node, .. }
            | Action::BindFile { node, .. }
            | Action::ApiAddresses { node, .. }
            | Action::LoseItself { node }
            | Action::SlowDisk { node, .. } => {
                if !runs(node) {
                    return Err(format!("`{node}` is no controller"));
                }
                known(node)
            }
            Action::Partition { from, to, .. }
            | Action::Hold { from, to }
            | Action::SlowLink { from, to, .. } => {
                if from.0.contains(&Role::Others) && to.0.contains(&Role::Others) {
                    return Err("one of the two sides must say who the others are not".into());
                }
                from.0.iter().chain(&to.0).try_for_each(known)
            }
            Action::Claims(claims) if claims.concurrency == 0 || claims.cancel_percent > 100 => {
                Err("claims need a concurrency above zero and at most 100 percent".into())
            }
            Action::Herd | Action::RestartAgents | Action::OomLimit { .. } | Action::Claims(_) => {
                Ok(())
            }
        }
    }

    /// Fills the roles that are drawn when the plan is.
    pub fn cast(mut self, mut draw: impl FnMut() -> NodeId) -> Action {
        let mut fill = |role: &mut Role| {
            if *role == Role::Random {
                *role = Role::Controller(draw());
            }
        };
        match &mut self {
            Action::Crash { node }
            | Action::Restart { node }
            | Action::Stop { node }
            | Action::Pause { node }
            | Action::Join { node }
            | Action::Remove { node }
            | Action::ControllerPort { node, .. }
            | Action::BindFile { node, .. }
            | Action::ApiAddresses { node, .. }
            | Action::LoseItself { node }
            | Action::SlowDisk { node, .. } => fill(node),
            Action::Partition { from, to, .. }
            | Action::Hold { from, to }
            | Action::SlowLink { from, to, .. } => {
                from.0.iter_mut().chain(&mut to.0).for_each(fill);
            }
            Action::Herd | Action::RestartAgents | Action::OomLimit { .. } | Action::Claims(_) => {}
        }
        self
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Crash { node } => write!(f, "crash {node}"),
            Action::Restart { node } => write!(f, "restart {node}"),
            Action::Stop { node } => write!(f, "stop {node}"),
            Action::Pause { node } => write!(f, "pause {node}"),
            Action::Join { node } => write!(f, "join {node}"),
            Action::Remove { node } => write!(f, "remove {node}"),
            Action::ControllerPort { node, on } => {
                write!(f, "controller-port {node} {}", if *on { "on" } else { "off" })
            }
            Action::BindFile { node, says } => write!(f, "bind-file {node} {says}"),
            Action::ApiAddresses { node, are } => write!(f, "api-addresses {node} {are}"),
            Action::LoseItself { node } => write!(f, "lose-itself {node}"),
            Action::Partition { from, to, one_way: false } => write!(f, "partition {from} | {to}"),
            Action::Partition { from, to, one_way: true } => write!(f, "partition {from} > {to}"),
            Action::Hold { from, to } => write!(f, "hold {from} | {to}"),
            Action::SlowLink { from, to, by } => {
                write!(f, "slow-link {from} | {to} by {}", Second(*by))
            }
            Action::SlowDisk { node, by } => write!(f, "slow-disk {node} by {}", Second(*by)),
            Action::Herd => f.write_str("herd"),
            Action::RestartAgents => f.write_str("restart-agents"),
            Action::OomLimit { memory } => write!(f, "oom-limit {memory}"),
            Action::Claims(claims) => write!(f, "{claims}"),
        }
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claims { count, concurrency, patience, cancel_percent } = self;
        let patience = Second(*patience);
        write!(f, "claims {count} by {concurrency} patience {patience} cancel {cancel_percent}%")
    }
}

impl FromStr for Action {
    type Err = String;
    fn from_str(text: &str) -> Result<Action, String> {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let sides = |rest: &str, mark: char| -> Result<(Group, Group), String> {
            let (from, to) =
                rest.split_once(mark).ok_or_else(|| format!("`{verb}` needs two sides"))?;
            Ok((from.parse()?, to.parse()?))
        };
        match verb {
            "crash" => Ok(Action::Crash { node: rest.parse()? }),
            "stop" => Ok(Action::Stop { node: rest.parse()? }),
            "pause" => Ok(Action::Pause { node: rest.parse()? }),
            "join" => Ok(Action::Join { node: rest.parse()? }),
            "remove" => Ok(Action::Remove { node: rest.parse()? }),
            "restart" => Ok(Action::Restart { node: rest.parse()? }),
            "lose-itself" => Ok(Action::LoseItself { node: rest.parse()? }),
            "bind-file" => {
                let (node, says) = rest.split_once(' ').unwrap_or((rest, ""));
                Ok(Action::BindFile { node: node.parse()?, says: says.parse()? })
            }
            "api-addresses" => {
                let (node, are) = rest.split_once(' ').unwrap_or((rest, ""));
                Ok(Action::ApiAddresses { node: node.parse()?, are: are.parse()? })
            }
            "controller-port" => match rest.rsplit_once(' ') {
                Some((node, "on")) => Ok(Action::ControllerPort { node: node.parse()?, on: true }),
                Some((node, "off")) => {
                    Ok(Action::ControllerPort { node: node.parse()?, on: false })
                }
                Some(_) | None => Err(format!("`{text}` is not `controller-port WHO on|off`")),
            },
            "partition" => {
                let one_way = rest.contains('>');
                let (from, to) = sides(rest, if one_way { '>' } else { '|' })?;
                Ok(Action::Partition { from, to, one_way })
            }
            "hold" => sides(rest, '|').map(|(from, to)| Action::Hold { from, to }),
            "slow-link" => {
                let (rest, by) = rest.rsplit_once(" by ").ok_or("`slow-link` needs `by TIME`")?;
                let (from, to) = sides(rest, '|')?;
                Ok(Action::SlowLink { from, to, by: seconds(by)? })
            }
            "slow-disk" => {
                let (node, by) = rest.split_once(" by ").ok_or("`slow-disk` needs `by TIME`")?;
                Ok(Action::SlowDisk { node: node.parse()?, by: seconds(by)? })
            }
            "herd" if rest.is_empty() => Ok(Action::Herd),
            "restart-agents" if rest.is_empty() => Ok(Action::RestartAgents),
            "oom-limit" => Ok(Action::OomLimit { memory: rest.parse()? }),
            "claims" => rest.parse().map(Action::Claims),
            _ => Err(format!("`{text}` is nothing that can be done")),
        }
    }
}

impl FromStr for Claims {
    type Err = String;
    fn from_str(text: &str) -> Result<Claims, String> {
        let wrong = || format!("`{text}` is not `N by N patience TIME cancel N%`");
        let words: Vec<&str> = text.split_whitespace().collect();
        let [count, "by", concurrency, "patience", patience, "cancel", cancel] = words[..] else {
            return Err(wrong());
        };
        let percent = cancel.strip_suffix('%').ok_or_else(wrong)?;
        Ok(Claims {
            count: count.parse().map_err(|_| wrong())?,
            concurrency: concurrency.parse().map_err(|_| wrong())?,
            patience: seconds(patience)?,
            cancel_percent: percent.parse().map_err(|_| wrong())?,
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Controller(node) => write!(f, "{node}"),
            Role::Leader => f.write_str("leader"),
            Role::Holder => f.write_str("holder"),
            Role::Random => f.write_str("random"),
            Role::All => f.write_str("all"),
            Role::Others => f.write_str("others"),
            Role::Agents => f.write_str("agents"),
        }
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Role, String> {
        let words =
            [Role::Leader, Role::Holder, Role::Random, Role::All, Role::Others, Role::Agents];
        if let Some(role) = words.into_iter().find(|role| role.to_string() == text) {
            return Ok(role);
        }
        let number = text.strip_prefix("controller-").and_then(|number| number.parse().ok());
        number.map(|number| Role::Controller(NodeId(number))).ok_or_else(|| {
            format!("`{text}` is nobody: say controller-1, leader, holder, random, all, others or agents")
        })
    }
}

impl TryFrom<String> for Role {
    type Error = String;
    fn try_from(text: String) -> Result<Role, String> {
        text.parse()
    }
}

impl JsonSchema for Role {
    fn schema_name() -> Cow<'static, str> {
        "Role".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "One of `controller-1` and so on, `leader`, `holder` of the first single worker, `random`, `all`, `others`, `agents`.",
            "pattern": r"^(controller-[0-9]+|leader|holder|random|all|others|agents)$",
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, role) in self.0.iter().enumerate() {
            write!(f, "{}{role}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Group {
    type Err = String;
    fn from_str(text: &str) -> Result<Group, String> {
        let roles: Vec<Role> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        if roles.is_empty() { Err("a side names nobody".into()) } else { Ok(Group(roles)) }
    }
}

impl TryFrom<String> for Group {
    type Error = String;
    fn try_from(text: String) -> Result<Group, String> {
        text.parse()
    }
}

impl JsonSchema for Group {
    fn schema_name() -> Cow<'static, str> {
        "Group".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Several of these, with spaces between them: `leader agents`.",
            "pattern": r"^ *(controller-[0-9]+|leader|holder|random|all|others|agents)( +(controller-[0-9]+|leader|holder|random|all|others|agents))* *$",
        })
    }
}

/// A duration as plans write it: seconds with three digits after the point, or six if needed.
pub struct Second(pub Duration);

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micros) = (self.0.as_secs(), self.0.subsec_micros());
        match micros % 1_000 {
            0 => f.pad(&format!("{whole}.{:03}s", micros / 1_000)),
            _ => f.pad(&format!("{whole}.{micros:06}s")),
        }
    }
}

/// Reads what [`Second`] writes.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let read = || {
        let (whole, part) = text.strip_suffix('s')?.split_once('.')?;
        let digits = part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit());
        let micros: u64 = digits.then(|| format!("{part:0<6}"))?.parse().ok()?;
        let whole: u64 = whole.parse().ok()?;
        Some(Duration::from_secs(whole) + Duration::from_micros(micros))
    };
    read().ok_or_else(|| format!("`{text}` is no time such as 12.500s"))
}
