//! The file of a backup: a copy of a cluster's tables, with the day it was taken and a sum over all.
//!
//! ```text
//! │ magic 18 │ version 4 │ taken at 8 │ length of the copy 8 │ copy … │ SHA-256 of all before it 32 │
//! ```
//!
//! Numbers are little-endian; the day counts in seconds since 1970. The file appears under its name
//! only when it is whole and durable, and is believed only when every byte of it is as it was written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest;

use crate::raft::Copied;
use crate::raft::copy;

/// Version of the file.
const VERSION: u32 = 1;
const MAGIC: &[u8; 18] = b"portcullis backup\n";
const HEAD: usize = MAGIC.len() + 4 + 8 + 8;
const SUM: usize = 32;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// When it was taken, by the calendar of whoever took it, since 1970.
    pub taken_at: Duration,
    /// What was copied.
    pub copied: Copied,
}

/// Why a file is no backup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("not a portcullis backup")]
    Foreign,
    /// Another version of this program wrote it.
    #[error("backup of version {found}, but this program reads version {VERSION}")]
    Version { found: u32 },
    /// It is cut short, or longer than it was.
    #[error("damaged: it should have {wanted} bytes, and has {found}")]
    Length { found: u64, wanted: u64 },
    /// It is not as it was written.
    #[error("damaged: its checksum is wrong")]
    Sum,
    /// It is as it was written, and makes no sense.
    #[error("damaged: {0}")]
    Copy(#[from] copy::Error),
}

impl Backup {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let copied = self.copied.encode();
        let mut bytes = Vec::with_capacity(HEAD + copied.len() + SUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.taken_at.as_secs().to_le_bytes());
        bytes.extend_from_slice(&(copied.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&copied);
        let sum = digest::digest(&digest::SHA256, &bytes);
        bytes.extend_from_slice(sum.as_ref());
        bytes
    }

    /// The backup of the bytes, every one of which is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Backup, Error> {
        let Some((magic, rest)) = bytes.split_first_chunk::<18>() else {
            return Err(Error::Foreign);
        };
        if magic != MAGIC {
            return Err(Error::Foreign);
        }
        let short =
            |wanted: usize| Error::Length { found: bytes.len() as u64, wanted: wanted as u64 };
        let (version, rest) = rest.split_first_chunk().ok_or_else(|| short(HEAD + SUM))?;
        // The version goes before the sum: another version may have another.
        if *version != VERSION.to_le_bytes() {
            return Err(Error::Version { found: u32::from_le_bytes(*version) });
        }
        let (taken_at, rest) = rest.split_first_chunk().ok_or_else(|| short(HEAD + SUM))?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(|| short(HEAD + SUM))?;
        let wanted = u64::from_le_bytes(*length).saturating_add((HEAD + SUM) as u64);
        if bytes.len() as u64 != wanted {
            return Err(Error::Length { found: bytes.len() as u64, wanted });
        }
        let (copied, sum) = rest.split_at(rest.len() - SUM);
        if digest::digest(&digest::SHA256, &bytes[..bytes.len() - SUM]).as_ref() != sum {
            return Err(Error::Sum);
        }
        let taken_at = Duration::from_secs(u64::from_le_bytes(*taken_at));
        Ok(Backup { taken_at, copied: Copied::decode(copied)? })
    }

    /// Reads and checks a file.
    pub fn read(file: &Path) -> Result<Backup, Error> {
        Backup::decode(&fs::read(file)?)
    }

    /// Writes the file; what was there under its name is replaced once all is durable.
    pub fn write(&self, file: &Path) -> Result<(), Error> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = file.with_file_name(name);
        let written = fs::File::create(&part).and_then(|mut out| {
            out.write_all(&self.encode())?;
            out.sync_all()
        });
        let written = written.and_then(|()| fs::rename(&part, file)).and_then(|()| sync(file));
        if written.is_err() {
            // What is left of it is of no use; that it is left is the lesser trouble.
            let _ = fs::remove_file(&part);
        }
        Ok(written?)
    }
}

/// Makes the name of a file durable.
pub fn sync(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.map_or(PathBuf::from("."), Path::to_owned))?.sync_all()
}
