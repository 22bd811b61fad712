//! The file that says where the controller door is to be bound: looked at, and told to the machine.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::NodeId;
use portcullis_core::bind::{Input, Lack};
use portcullis_core::controller;
use tokio::sync::watch;

use super::Serve;
use crate::bind_file::{self, Offers};
use crate::env::{Env, Look};

/// Time from one look at the file to the next: as Juju's charm writes it seldom, a second is soon.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// The same while the file has just changed: what is written in steps is read once it stands still.
const LOOKED_AGAIN: Duration = Duration::from_millis(100);
/// Longest file that is read, in bytes; addresses of seven controllers are far below.
const FILE_MAX: u64 = 64 << 10;

/// The file, and what it says of the others.
pub struct BindFile {
    pub path: PathBuf,
    /// The addresses that it offers other controllers, for whoever dials them.
    pub others: watch::Sender<BTreeMap<NodeId, IpAddr>>,
}

impl BindFile {
    /// What is wrong with it, in a line that names it.
    pub fn worded(&self, lack: &Lack) -> String {
        match lack {
            Lack::Unreadable { says } => says.clone(),
            Lack::NoFile | Lack::NoAddress | Lack::Ambiguous { .. } | Lack::Unusable { .. } => {
                format!("{}: {lack}", self.path.display())
            }
        }
    }
}

/// Looks at the file for as long as the controller runs, and tells the machine whenever it is another.
pub async fn watch<E: Env>(serve: Arc<Serve<E>>) {
    let Some(file) = &serve.bind_file else { return };
    let look = || serve.env.look(&file.path).map_err(|error| lack(&file.path, &error));
    let (mut seen, mut told) = (None, None);
    loop {
        let found = Some(look());
        let wait = if found == told {
            LOOKED_EVERY
        } else if found != seen {
            LOOKED_AGAIN
        } else {
            if tell(&serve, &file.path, &found).await {
                told.clone_from(&found);
            }
            LOOKED_EVERY
        };
        seen = found;
        serve.env.sleep_until(serve.env.now() + wait).await;
    }
}

/// Reads the file as it was found; false if it is to be read again, though it be the same.
async fn tell<E: Env>(serve: &Serve<E>, path: &Path, found: &Option<Result<Look, Lack>>) -> bool {
    let (read, done) = match found {
        Some(Ok(look)) => match serve.env.read(path, FILE_MAX) {
            // It was written between the look and the reading: it does not stand still.
            Ok((now, _)) if now != *look => return false,
            Ok((_, text)) => (bind_file::read(path, &text, serve.node), true),
            Err(error) => (Err(lack(path, &error)), false),
        },
        Some(Err(lack)) => (Err(lack.clone()), true),
        None => return false,
    };
    let offer = match read {
        Ok(Offers { own: candidates, others }) => {
            if let Some(file) = &serve.bind_file {
                file.others.send_if_modified(|known| mem::replace(known, others.clone()) != others);
            }
            Input::Read { candidates }
        }
        Err(lack) => Input::NotRead { lack },
    };
    serve.tell(controller::Input::Offered { offer }).await;
    done
}

fn lack(path: &Path, error: &io::Error) -> Lack {
    match error.kind() {
        io::ErrorKind::NotFound => Lack::NoFile,
        _ => bind_file::unreadable(path, &format!(" cannot be read: {error}")),
    }
}
