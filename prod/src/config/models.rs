//! Models, and who may log in.

use std::path::PathBuf;

use serde::Deserialize;

/// One model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Model {
    /// Its UUID, in lower case.
    pub uuid: String,
    /// Its name; the controllers' own machines belong to the one called `controller`.
    pub name: String,
}

/// A model that lives elsewhere: a user who logs in to it is sent there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MovedModel {
    /// Its UUID, in lower case; not that of a model here.
    pub uuid: String,
    /// Each `host:port` of the API doors there; at least one.
    pub api_addresses: Vec<String>,
    /// PEM file of the authority that proves the controllers there; this cluster's if left out.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// UUID of the cluster there, for those who are asked for consent.
    #[serde(default)]
    pub controller_uuid: Option<String>,
    /// Whether clients are to ask whoever uses them before they go there, as after a migration in
    /// Juju. Without it, the default, they follow by themselves and log in with the same password.
    #[serde(default)]
    pub consent: bool,
}

/// One person.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct User {
    /// The name after `user-` in the tag.
    pub name: String,
    /// What `portcullis hash-password` prints.
    pub password_hash: String,
}

/// One unit agent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Unit {
    /// `application/number`, such as `mysql/0`; once a model.
    pub name: String,
    /// UUID of its model.
    pub model: String,
    /// The id of the machine that it runs on, which can pin its leadership; one of its model. Live.
    #[serde(default)]
    pub machine: Option<String>,
    /// What `portcullis hash-password` prints.
    pub password_hash: String,
}

/// One machine agent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// What follows `machine-` in the tag: `0`, or `0-lxd-1` for a container in it.
    pub id: String,
    /// UUID of its model.
    pub model: String,
    /// What `portcullis hash-password` prints.
    pub password_hash: String,
}
