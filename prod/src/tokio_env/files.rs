//! Files that somebody else writes and rewrites.

use std::fs::{File, Metadata, OpenOptions, metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::env::Look;

/// What the file looks like from outside; a link is followed.
pub(super) fn look(path: &Path) -> io::Result<Look> {
    Ok(seen(&metadata(path)?))
}

/// All of the file. Whatever it is, nothing is waited for: a pipe is refused like a folder.
pub(super) fn read(path: &Path, most: u64) -> io::Result<(Look, String)> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    let look = seen(&metadata);
    if metadata.is_dir() {
        return Err(io::Error::other("it is a folder, not a file"));
    } else if !metadata.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    text(file, most).map(|text| (look, text))
}

fn text(file: File, most: u64) -> io::Result<String> {
    let mut text = String::new();
    let more = file.take(most + 1).read_to_string(&mut text)? as u64;
    if more > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    Ok(text)
}

fn seen(metadata: &Metadata) -> Look {
    let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    Look { inode: metadata.ino(), size: metadata.size(), changed }
}
