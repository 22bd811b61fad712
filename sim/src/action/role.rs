//! Whom an action is about.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use portcullis_core::NodeId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

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
