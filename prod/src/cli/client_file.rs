//! The file that tells client commands where controllers are, whom to trust and who is asking.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::client::wire::Pass;
use portcullis::config::{self, ConfigError};
use serde::Deserialize;

use super::exit::Failure;

/// Its name in the folder of `dev`.
pub const FILE: &str = "client.toml";

/// What a client needs to know. Paths are relative to the folder of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientFile {
    /// Each `host:port` of an API door.
    pub addresses: Vec<String>,
    /// PEM file with the authority that the controllers' certificates come from.
    pub ca: PathBuf,
    /// UUID of the model that leases belong to unless `--model` says otherwise.
    pub model: String,
    /// Who can log in; the first does unless `--as` says otherwise.
    #[serde(rename = "account")]
    pub accounts: Vec<Account>,
    /// Units that have no account each, and the key that signs their passwords.
    pub signed_units: Option<SignedUnits>,
}

/// Units that `load --agents` can log in as: the controllers' `[[signed-units]]` with this prefix.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SignedUnits {
    /// What the applications' names begin with; numbers from zero follow.
    pub prefix: String,
    /// How many applications there are.
    pub applications: u32,
    /// How many units each has.
    pub units: u32,
    /// The Ed25519 key that signs passwords: 32 bytes in hex.
    pub private_key: String,
}

/// Somebody who can log in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Account {
    /// A user's name, a unit such as `mysql/0`, or `machine-` and a number.
    pub name: String,
    /// The password, or else
    pub password: Option<String>,
    /// the file whose first line it is.
    pub password_file: Option<PathBuf>,
}

impl fmt::Display for ClientFile {
    /// As a person could have written it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(|one| format!("{one:?}")).collect();
        writeln!(f, "# Where controllers are, and passwords: keep it to yourself.")?;
        writeln!(f, "addresses = [{}]", addresses.join(", "))?;
        writeln!(f, "ca = {:?}", self.ca.display().to_string())?;
        writeln!(f, "model = {:?}", self.model)?;
        for Account { name, password, password_file } in &self.accounts {
            writeln!(f, "\n[[account]]\nname = {name:?}")?;
            if let Some(password) = password {
                writeln!(f, "password = {password:?}")?;
            }
            if let Some(file) = password_file {
                writeln!(f, "password-file = {:?}", file.display().to_string())?;
            }
        }
        if let Some(signed) = &self.signed_units {
            let SignedUnits { prefix, applications, units, private_key } = signed;
            writeln!(f, "\n[signed-units]\nprefix = {prefix:?}\napplications = {applications}")?;
            writeln!(f, "units = {units}\nprivate-key = {private_key:?}")?;
        }
        Ok(())
    }
}

impl ClientFile {
    /// Reads a file, and makes its paths absolute or relative to the present folder.
    pub fn load(file: &Path) -> Result<ClientFile, Failure> {
        let mut client: ClientFile = config::read(file).map_err(|error| match error {
            ConfigError::Unreadable { .. } => Failure::wrong(format!(
                "{error}; start `portcullis dev`, or name another client file with --client"
            )),
            ConfigError::Wrong { .. } => Failure::wrong(error),
        })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        client.ca = folder.join(&client.ca);
        for account in &mut client.accounts {
            account.password_file = account.password_file.take().map(|path| folder.join(path));
        }
        match client.addresses.is_empty() || client.accounts.is_empty() {
            true => Err(Failure::wrong(format!(
                "{}: needs at least one of addresses, and one [[account]]",
                file.display()
            ))),
            false => Ok(client),
        }
    }
}

impl Account {
    /// What is logged in with.
    pub fn pass(&self) -> Result<Pass, Failure> {
        let tag = match self.name.split_once('/') {
            Some((application, number)) => format!("unit-{application}-{number}"),
            None if self.name.starts_with("machine-") => self.name.clone(),
            None => format!("user-{}", self.name),
        };
        let password = match (&self.password, &self.password_file) {
            (Some(password), None) => password.clone(),
            (None, Some(file)) => {
                let text = fs::read_to_string(file).map_err(Failure::at(file))?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(Failure::wrong(format!(
                    "account {}: needs either a password or a password-file",
                    self.name
                )));
            }
        };
        Ok(Pass { tag, password })
    }
}

/// The client file of this name, or that of `dev`.
pub fn named(file: Option<&Path>) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file.to_owned()),
        None => Ok(default_folder()?.join(FILE)),
    }
}

/// Where `dev` keeps its cluster unless told otherwise.
pub fn default_folder() -> Result<PathBuf, Failure> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("portcullis/dev")),
        None => Err(Failure::wrong("neither XDG_STATE_HOME nor HOME is set; say --dir DIR")),
    }
}
