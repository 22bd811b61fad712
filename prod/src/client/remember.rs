//! The `addresses` of a client's or an agent's file, rewritten as controllers move.
//!
//! Seed 003: agents' configuration files are rewritten with usable API addresses whenever the
//! control plane changes, and a client stores the list that it is told with each login, the last
//! one that worked first. Only the value of that one key changes; whatever else is in the file,
//! comments among it, stays to the byte. A reader finds the old file or the new one, never a part.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use portcullis_core::Address;
use serde::Deserialize;
use toml::Spanned;
use tracing::{info, warn};

use super::Client;

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or a new one cannot be written beside it.
    #[error("{}: {error}", .file.display())]
    File { file: PathBuf, error: io::Error },
    /// Somebody has made of it what is no TOML with a list of addresses.
    #[error("{}: {error}", .file.display())]
    Form { file: PathBuf, error: Box<toml::de::Error> },
}

/// Where in the file the list stands.
#[derive(Deserialize)]
struct Addresses {
    addresses: Spanned<Vec<String>>,
}

/// Rewrites the file whenever the client is told of other addresses, for as long as it runs. One
/// that cannot be rewritten is said so, and tried again with the next change.
pub async fn follow(client: &Client, file: PathBuf) {
    let mut standing = client.standing();
    let mut known = Vec::new();
    while standing.changed().await.is_ok() {
        let told = standing.borrow_and_update().addresses.clone();
        if told == known {
            continue;
        }
        known = told.clone();
        let shown = file.clone();
        let rewritten = tokio::task::spawn_blocking({
            let file = file.clone();
            move || rewrite(&file, &told)
        });
        match rewritten.await {
            Ok(Ok(())) => info!(file = %shown.display(), addresses = ?known, "rewritten"),
            Ok(Err(error)) => warn!(%error, "addresses not rewritten"),
            Err(error) => warn!(%error, "addresses not rewritten"),
        }
    }
}

/// Replaces the file's `addresses` by these, in this order. Nowhere is never written: an empty list
/// leaves the file as it is, and so does the one that it has.
pub fn rewrite(file: &Path, addresses: &[Address]) -> Result<(), Error> {
    let at = |error| Error::File { file: file.to_owned(), error };
    let text = fs::read_to_string(file).map_err(at)?;
    let known: Addresses = toml::from_str(&text)
        .map_err(|error| Error::Form { file: file.to_owned(), error: Box::new(error) })?;
    let same = known.addresses.get_ref().iter().map(String::as_str);
    if addresses.is_empty() || same.eq(addresses.iter().map(Address::as_str)) {
        return Ok(());
    }
    let list: Vec<_> = addresses.iter().map(|address| format!("{:?}", address.as_str())).collect();
    let span = known.addresses.span();
    let next = format!("{}[{}]{}", &text[..span.start], list.join(", "), &text[span.end..]);
    replace(file, next.as_bytes()).map_err(at)
}

/// Puts a file with this content in the place of another, with the other's permissions.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    // A link stays one; what it leads to is replaced.
    let file = fs::canonicalize(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut next = File::create(&beside)?;
        next.set_permissions(fs::metadata(&file)?.permissions())?;
        next.write_all(content)?;
        next.sync_all()?;
        fs::rename(&beside, &file)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // It may never have come to be.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const FILE: &str =
        "# Mine.\naddresses = [\n  \"a:1\", # the first\n]\nca = \"ca.pem\" # keep\n";

    fn addresses(list: &[&str]) -> Vec<Address> {
        list.iter().map(|address| Address::new(address)).collect()
    }

    fn rewritten(text: &str, list: &[&str]) -> (Result<(), String>, String) {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let file = folder.path().join("agent.toml");
        fs::write(&file, text).expect("the folder can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
        let done = rewrite(&file, &addresses(list)).map_err(|error| error.to_string());
        let mode = fs::metadata(&file).expect("it is still there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "passwords may stand in it");
        let left = fs::read_dir(folder.path()).expect("the folder can be read").count();
        assert_eq!(left, 1, "nothing is left beside it");
        (done, fs::read_to_string(&file).expect("it can be read"))
    }

    #[test]
    fn the_list_is_replaced_and_nothing_else() {
        let (done, text) = rewritten(FILE, &["b:2", "[fd00::1]:3"]);
        assert_eq!(done, Ok(()));
        let expected = "# Mine.\naddresses = [\"b:2\", \"[fd00::1]:3\"]\nca = \"ca.pem\" # keep\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn nowhere_and_the_same_leave_the_file_alone() {
        for list in [&[][..], &["a:1"]] {
            assert_eq!(rewritten(FILE, list), (Ok(()), FILE.to_owned()), "{list:?}");
        }
    }

    #[test]
    fn a_file_that_somebody_broke_is_left_alone() {
        for text in ["addresses = [", "addresses = 7\n", "other = 1\n", ""] {
            let (done, kept) = rewritten(text, &["b:2"]);
            assert!(done.is_err(), "{text:?} was taken for a list");
            assert_eq!(kept, text);
        }
        let nowhere = rewrite(Path::new("/nowhere/agent.toml"), &addresses(&["b:2"]));
        assert!(matches!(nowhere, Err(Error::File { .. })));
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("link.toml"));
        fs::write(&file, FILE).expect("the folder can be written");
        std::os::unix::fs::symlink(&file, &link).expect("links can be made");
        rewrite(&link, &addresses(&["b:2"])).expect("it can be rewritten");
        assert!(link.is_symlink());
        assert!(fs::read_to_string(&file).expect("it can be read").contains("b:2"));
    }
}
