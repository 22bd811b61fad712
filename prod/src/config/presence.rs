//! Whether what a configuration names is there, on the host that it is for.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::Config;
use super::check::Faults;
use super::fault::Meaning;

/// All that is not there, or is there as something else.
pub(super) fn faults(config: &Config) -> Vec<Meaning> {
    let mut faults = Faults(Vec::new());
    if let Some(socket) = &config.controller_socket {
        let kind = fs::symlink_metadata(socket).map(|file| file.file_type());
        let says = format!("{} is there and no socket; it is left alone", socket.display());
        let other = kind.is_ok_and(|kind| !kind.is_socket());
        faults.check(!other, "controller-socket", says);
    }
    if let Some(file) = &config.ports_file {
        let says = format!("{} is a folder", file.display());
        faults.check(!file.is_dir(), "ports-file", says);
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            faults.add("ports-file", format!("there is no folder {}", folder.display()));
        }
    }
    let tls = &config.tls;
    let named = [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)];
    for (key, path) in named.into_iter().chain(tls.ca_key.iter().map(|path| ("ca-key", path))) {
        file(path, &format!("tls.{key}"), &mut faults);
    }
    let folder: &Path = &config.data_dir;
    let says = format!("{} is not a folder", folder.display());
    faults.check(!folder.exists() || folder.is_dir(), "data-dir", says);
    for (at, moved) in config.moved.iter().enumerate() {
        if let Some(ca) = &moved.ca {
            file(ca, &format!("moved-model.{at}.ca"), &mut faults);
        }
    }
    faults.0
}

fn file(path: &Path, key: &str, faults: &mut Faults) {
    let says = format!("there is no file {}", path.display());
    faults.check(path.is_file(), key, says);
}
