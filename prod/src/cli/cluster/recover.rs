//! `cluster recover`: one controller made all of the cluster, when the majority is gone for good.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis::config::Config;
use portcullis::node::STORE;
use portcullis::raft::recover::Recovery;
use portcullis::raft::{Formed, Identity};
use portcullis_core::NodeId;
use redb::DatabaseError;
use redb::backends::FileBackend;
use serde_json::json;

use super::super::exit::Failure;
use super::super::lease::as_json;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// The controller's configuration, which names its data folder
    #[arg(long, value_name = "FILE", required_unless_present = "data_dir")]
    config: Option<PathBuf>,
    /// The controller's data folder, of whichever controller it is
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// Do it, after having made sure that no other controller of the cluster runs or ever will
    #[arg(long)]
    force: bool,
}

pub const HELP: &str = "\
Only where a majority of the voters is gone for good: with a majority `portcullis cluster remove` is
enough. Of the controllers that are left recover the one with the highest last entry. Without --force
nothing is changed: it says what there is, and exits with 1.

Example:
  portcullis cluster recover --config controller.toml
  portcullis cluster recover --config controller.toml --force && portcullis run --config controller.toml";

/// Says what there is and what may be lost, and does it if it is forced.
pub fn recover(arguments: &Arguments, json: bool) -> Result<(), Failure> {
    let (folder, identity) = match (&arguments.config, &arguments.data_dir) {
        (Some(file), _) => {
            let config = Config::load(file).map_err(Failure::wrong)?;
            let node = NodeId(config.controller_id);
            (config.data_dir, Some(Identity { cluster: config.controller_uuid, node }))
        }
        (None, Some(folder)) => (folder.clone(), None),
        (None, None) => unreachable!("clap wants one of the two"),
    };
    let path = folder.join(STORE);
    let refused =
        |error: &dyn std::fmt::Display| Failure::wrong(format!("{}: {error}", path.display()));
    let recovery = Recovery::open(open(&path)?, identity).map_err(|error| refused(&error))?;
    match json {
        true => println!("{}", as_json(&facts(&recovery))),
        false => println!("{}", said(&recovery)),
    }
    let Identity { node, .. } = recovery.identity().clone();
    if recovery.is_alone() {
        println!("It is all of the cluster already: nothing is changed.");
        return Ok(());
    }
    if !arguments.force {
        return Err(Failure::wrong(format!("{DANGER}\nNothing was changed; --force does it.")));
    }
    recovery.make_alone().map_err(|error| refused(&error))?;
    if !json {
        println!("{node} is all of the cluster. Run it, and have others join anew.");
    }
    Ok(())
}

const DANGER: &str = "\
This takes the power to decide from a majority. If any other controller of this cluster runs, or ever
runs again where it does not reach this one, two clusters decide about the same leases, and both are
believed. And whatever was acknowledged after the last entry above is lost, if there was anything:
only a controller with a higher last entry has it. All others are removed for ever: they are refused
when they come back, and join anew with empty data folders.";

/// Opens a store that is there and that nobody else has open.
fn open(path: &Path) -> Result<FileBackend, Failure> {
    let file = File::options().read(true).write(true).open(path).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => ": there is no controller's data in this folder",
            _ => "",
        };
        Failure::wrong(format!("{}: {error}{hint}", path.display()))
    })?;
    FileBackend::new(file).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            let says = "is in use: its controller runs; if it serves nobody, stop it first";
            Failure::wrong(format!("{} {says}", path.display()))
        }
        error => Failure::wrong(format!("{}: {error}", path.display())),
    })
}

fn facts(recovery: &Recovery) -> serde_json::Value {
    let Identity { cluster, node } = recovery.identity();
    let (last, Formed { voters, .. }) = (recovery.last(), recovery.formed());
    let members = recovery.members().iter().map(|(node, _)| node.0);
    json!({
        "controller": node.0,
        "cluster": cluster,
        "last-index": last.index,
        "last-term": last.leader_id.term,
        "last-leader": last.leader_id.node_id,
        "term": recovery.term(),
        "leases": recovery.leases(),
        "members": members.collect::<Vec<u64>>(),
        "voters": voters.iter().map(|node| node.0).collect::<Vec<u64>>(),
    })
}

fn said(recovery: &Recovery) -> String {
    let Identity { cluster, node } = recovery.identity();
    let (last, Formed { voters, before, .. }) = (recovery.last(), recovery.formed());
    let named = |nodes: &mut dyn Iterator<Item = NodeId>| {
        nodes.map(|node| node.to_string()).collect::<Vec<_>>().join(", ")
    };
    let members = named(&mut recovery.members().iter().map(|(node, _)| node));
    let voters = named(&mut voters.into_iter().chain(before.into_iter().flatten()));
    format!(
        "{node} of cluster {cluster}\n\
         last entry  {} of term {}, by controller-{}\n\
         term        {}\n\
         leases      {} held\n\
         members     {members}\n\
         voters      {voters}",
        last.index,
        last.leader_id.term,
        last.leader_id.node_id,
        recovery.term(),
        recovery.leases(),
    )
}
