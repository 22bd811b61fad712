//! The folder of a cluster: locked while `dev` runs on it, with fixed names for what is in it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;

use super::super::client_file::FILE;
use super::super::exit::Failure;

/// A folder that this process alone works on.
pub struct Folder {
    path: PathBuf,
    /// Locked for as long as this process lives, however it ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder if there is none; refuses one that another `dev` works on.
    pub fn open(path: &Path) -> Result<Folder, Failure> {
        make(path)?;
        let path = path.canonicalize().map_err(Failure::at(path))?;
        let file = path.join("lock");
        let mut options = File::options();
        let mut lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(Failure::at(&file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut other = String::new();
                lock.read_to_string(&mut other).map_err(Failure::at(&file))?;
                return Err(Failure::wrong(format!(
                    "{}: `portcullis dev` already runs here as process {}; stop it, or choose \
                     another folder with --dir",
                    path.display(),
                    other.trim()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(Failure::at(&file)(error)),
        }
        let mut sign = || -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", process::id())
        };
        sign().map_err(Failure::at(&file))?;
        Ok(Folder { path, _lock: lock })
    }

    /// Where it is, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Certificate and key of the authority.
    pub fn authority(&self) -> (PathBuf, PathBuf) {
        (self.path.join("ca.pem"), self.path.join("ca.key"))
    }

    /// What clients read.
    pub fn client_file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// The folder of one controller.
    pub fn controller(&self, id: u64) -> PathBuf {
        self.path.join(format!("controller-{id}"))
    }
}

/// Makes a folder that its owner alone can look into, and those above it.
pub fn make(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Failure::at(path))
}
