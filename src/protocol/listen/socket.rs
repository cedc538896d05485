//! Bound sockets, TCP or Unix, and what they accept.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::stream::Stream;
use crate::config::Address;

/// Owner and group may connect: a sidecar shares the group, others stay out.
const MODE: u32 = 0o660;

/// A socket that others can connect to.
pub enum Socket {
    /// An IP address and a port.
    Tcp(TcpListener),
    /// A file.
    Unix(UnixListener, SocketFile),
}

impl Socket {
    /// Binds an address. The file of a Unix socket is taken over if nobody listens on it.
    pub async fn bind(address: &Address) -> io::Result<Socket> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).await.map(Socket::Tcp),
            Address::Unix(path) => {
                remove_if_stale(path)?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile { path: path.clone(), inode: inode(path)? };
                std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
                Ok(Socket::Unix(listener, file))
            }
        }
    }

    /// The address; the port is the real one if 0 was asked for.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Socket::Unix(_, file) => Ok(Address::Unix(file.path.clone())),
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer must not wait for the acknowledgement of the one before it.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "can't set TCP_NODELAY");
                }
                Ok(stream.into())
            }
            Socket::Unix(listener, _) => Ok(listener.accept().await?.0.into()),
        }
    }
}

/// The file of a Unix socket, which goes when the socket does.
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // By now another server may have put its own there.
        if inode(&self.path).is_ok_and(|now| now == self.inode)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "can't remove the socket");
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}

/// Removes what a server that was killed has left. Anything else that is in the way stays.
fn remove_if_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let message = "there is a file of that name, and it is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        // Somebody listens, or it can't be told: binding will say so.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_file_is_taken_over_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let address = Address::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&address).await.unwrap();
        assert_eq!(socket.address().unwrap(), address);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        let taken = Socket::bind(&address).await.err().unwrap();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_or_no_longer_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let address = Address::Unix(path.clone());
        std::fs::write(&path, "precious").unwrap();
        let refused = Socket::bind(&address).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");

        std::fs::remove_file(&path).unwrap();
        let old = Socket::bind(&address).await.unwrap();
        std::fs::rename(&path, dir.path().join("aside")).unwrap();
        let _new = Socket::bind(&address).await.unwrap();
        drop(old);
        assert!(path.exists());
    }
}
