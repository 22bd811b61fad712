//! A socket in the file system that a controller reaches itself by: no port for anybody else to
//! find, and none to open in a firewall (seed 000).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Longest path of a socket in bytes: the kernel's `sun_path` holds 108 with a zero at the end.
pub const LOCAL_PATH_MAX: usize = 107;

/// A listener, and its file for as long as it listens.
#[derive(Debug)]
pub struct Local {
    listener: UnixListener,
    path: PathBuf,
}

impl Local {
    /// Listens at the path. What an earlier process left there is removed, but only if it is a
    /// socket that nobody listens at.
    pub(super) fn bind(path: &Path, backlog: u32) -> io::Result<Local> {
        let socket = UnixSocket::new_stream()?;
        match socket.bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && left(path) => {
                fs::remove_file(path)?;
                socket.bind(path)?;
            }
            bound => bound?,
        }
        // Nobody can dial it before it listens, so nobody comes in under the mode it was made with.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Local { listener: socket.listen(backlog)?, path: path.to_owned() })
    }

    pub(super) async fn accept(&mut self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // If it is gone already, that is what is wanted.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether there is a socket that nobody listens at.
fn left(path: &Path) -> bool {
    let socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Dialling never waits: it is refused, or put into the backlog at once.
    let refused = || Blocking::connect(path).err().map(|error| error.kind());
    socket && refused() == Some(io::ErrorKind::ConnectionRefused)
}
