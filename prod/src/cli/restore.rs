//! `restore`: a controller's data folder from a backup.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use portcullis::backup::{self, Backup};
use portcullis::env::Env;
use portcullis::node::STORE;
use portcullis::raft::copy::QUIET_LEAST;
use portcullis::raft::{Identity, Restored, store};
use portcullis::tokio_env::{Ports, Tokio};
use portcullis_core::NodeId;

use super::backup::{since_1970, wrong};
use super::exit::Failure;

/// Name of the store until it is whole.
const PART: &str = "raft.redb.part";

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// The backup
    file: PathBuf,
    /// The controller's data folder: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Which of the members it becomes [default: the one that the backup was taken of]
    #[arg(long, value_name = "ID")]
    controller_id: Option<u64>,
    /// How long nobody leads once it runs: as long as any lease may be held that was granted after
    /// the backup [default: 5min, or the longest in the backup]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    quiet: Option<Duration>,
}

/// Checks all of it, then makes the folder.
pub fn restore(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { file, data_dir, controller_id, quiet } = arguments;
    let backup = Backup::read(file).map_err(|error| wrong(file, &error))?;
    let contents = backup.copied.contents().map_err(|error| wrong(file, &error.into()))?;
    let restored = Restored {
        node: controller_id.map_or(backup.copied.node, NodeId),
        age: since_1970().saturating_sub(backup.taken_at),
        quiet: quiet.unwrap_or(contents.longest.max(QUIET_LEAST)),
    };
    let beginning = backup.copied.begin(&restored).map_err(|error| wrong(file, &error.into()))?;
    empty(data_dir)?;
    let identity = Identity { cluster: backup.copied.cluster.clone(), node: restored.node };
    let env = Tokio::start(data_dir.clone(), Ports::Own).map_err(Failure::wrong)?;
    let made = || -> Result<(), store::Error> {
        let disk = env.open(PART)?;
        store::make(disk, &identity, beginning)?;
        let (part, whole) = (data_dir.join(PART), data_dir.join(STORE));
        fs::File::open(&part)?.sync_all()?;
        fs::rename(&part, &whole)?;
        Ok(backup::sync(&whole)?)
    };
    made().map_err(|error| Failure::wrong(format!("{}: {error}", data_dir.display())))?;
    let removed = contents.members.iter().filter(|member| **member != restored.node);
    let removed: Vec<String> = removed.map(ToString::to_string).collect();
    println!(
        "{} is {} of cluster {}, its only member, with {} leases",
        data_dir.display(),
        restored.node,
        identity.cluster,
        contents.leases
    );
    if !removed.is_empty() {
        println!(
            "{} are removed for ever: never start them on their old folders again, for together \
             they would lead a second cluster; empty the folders, and let them join anew",
            removed.join(", ")
        );
    }
    println!(
        "once it runs, nobody leads for {}: whatever was granted after the backup is over by then, \
         if all others were stopped before",
        humantime::format_duration(restored.quiet)
    );
    Ok(())
}

/// Whether nothing is in the folder but what an attempt has left that was cut short.
fn empty(folder: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Failure::at(folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(Failure::at(folder))?;
        if entry.file_name() != PART {
            return Err(Failure::wrong(format!(
                "{}: not empty: {} is in it; nothing was touched",
                folder.display(),
                entry.file_name().display()
            )));
        }
        fs::remove_file(entry.path()).map_err(Failure::at(&entry.path()))?;
    }
    Ok(())
}
