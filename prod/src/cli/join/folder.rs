//! The folder of a controller that joins: of one token, written by one process at a time.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use portcullis::config::Config;
use portcullis::join::{Granted, Token};
use portcullis::tls::{Certificate, OwnKey, write_public, write_secret};
use portcullis::tokio_env::today;

use super::super::dev::make_folder;
use super::super::exit::Failure;
use super::super::made::{self, Made};

/// The file that says by which token the folder joined, or is joining: the token's hash.
const JOINED_BY: &str = "joined-by";
/// The private key.
const KEY: &str = "key.pem";

/// See the module.
pub struct Folder {
    path: PathBuf,
    /// Locked for as long as this process works on it, however it ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder if there is none; refuses one that belongs to something else.
    pub fn open(path: &Path, token: &Token) -> Result<Folder, Failure> {
        make_folder(path)?;
        let path = path.canonicalize().map_err(Failure::at(path))?;
        let lock = File::open(&path).map_err(Failure::at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let says = format!("{}: another `portcullis join` works on it", path.display());
                return Err(Failure::wrong(says));
            }
            Err(TryLockError::Error(error)) => return Err(Failure::at(&path)(error)),
        }
        let (mark, hash) = (path.join(JOINED_BY), HEXLOWER.encode(&token.hash().0));
        match fs::read_to_string(&mark) {
            Ok(text) if text.trim() == hash => {}
            Ok(_) => {
                return Err(Failure::wrong(format!(
                    "{} belongs to a join by another token; go on with that one, or name another \
                     folder with --data-dir",
                    path.display()
                )));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let names = made::listed(&path)?;
                if !names.is_empty() {
                    return Err(made::in_use(&path, &names));
                }
                write_public(&mark, format!("{hash}\n").as_bytes()).map_err(Failure::wrong)?;
            }
            Err(error) => return Err(Failure::at(&mark)(error)),
        }
        Ok(Folder { path, _lock: lock })
    }

    /// Where it is, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which controller it holds, once it is whole.
    pub fn joined(&self) -> Result<Option<u64>, Failure> {
        let file = self.path.join(made::FILE);
        if !file.exists() {
            return Ok(None);
        }
        Ok(Some(Config::load(&file).map_err(Failure::wrong)?.controller_id))
    }

    /// The key that it joins with: the one of the last try, if there was one.
    pub fn key(&self) -> Result<OwnKey, Failure> {
        let file = self.path.join(KEY);
        if file.exists() {
            return OwnKey::load(&file).map_err(Failure::wrong);
        }
        let key = OwnKey::make().map_err(Failure::wrong)?;
        key.save(&file).map_err(Failure::wrong)?;
        Ok(key)
    }

    /// Empties the folder of a join that was refused for good, so that it may be used for another
    /// token; one that has more in it than such a join leaves is left alone.
    pub fn forget(&self) -> Result<(), Failure> {
        const LEFT: [&str; 2] = [JOINED_BY, KEY];
        if made::listed(&self.path)? != LEFT {
            return Ok(());
        }
        for name in LEFT {
            let file = self.path.join(name);
            fs::remove_file(&file).map_err(Failure::at(&file))?;
        }
        Ok(())
    }

    /// Writes what was granted, and looks at it as `run` will, before the file that makes it whole.
    pub fn write(&self, granted: &Granted, made: &Made<'_>) -> Result<(), Failure> {
        let path = |name: &str| self.path.join(name);
        let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path(KEY));
        write_public(&ca, granted.authority.as_bytes()).map_err(Failure::wrong)?;
        write_public(&cert, granted.certificate.as_bytes()).map_err(Failure::wrong)?;
        let secret = granted.authority_key.as_bytes();
        write_secret(&path("ca.key"), secret).map_err(Failure::wrong)?;
        let certificate = Certificate::load(&cert, &key, &ca).map_err(Failure::wrong)?;
        certificate.check(today()).map_err(Failure::wrong)?;
        certificate.server().map_err(Failure::wrong)?;
        let unfit = |what: &dyn std::fmt::Display| {
            Failure::wrong(format!("what the cluster hands on is of no use here: {what}"))
        };
        let text = made.text().map_err(|error| unfit(&error))?;
        let draft = path("draft.part");
        write_secret(&draft, text.as_bytes()).map_err(Failure::wrong)?;
        Config::load(&draft).map_err(|error| unfit(&error))?;
        let file = path(made::FILE);
        fs::rename(&draft, &file).map_err(Failure::at(&file))?;
        let folder = File::open(&self.path).map_err(Failure::at(&self.path))?;
        folder.sync_all().map_err(Failure::at(&self.path))
    }
}
