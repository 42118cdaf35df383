//! Listening sockets of both kinds: opened here, or inherited.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{ListenAddress, Peer, Plain, UNSENT_BYTES};

/// Connections that the kernel completes before they are accepted. Linux cuts it to `net.core.somaxconn` (4096 since 5.4).
const BACKLOG: i32 = 4096;

/// Owner and group may connect to a Unix-domain socket; its directory can narrow that, and a group can widen it.
const SOCKET_MODE: u32 = 0o660;

/// A listening socket, not yet served.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix-domain socket.
    Unix(UnixListener),
}

/// A listening socket that a runtime serves.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP.
    Tcp(tokio::net::TcpListener),
    /// A Unix-domain socket.
    Unix(tokio::net::UnixListener),
}

/// Which families an IPv6 socket takes. Said for every socket, because the system's default (`net.ipv6.bindv6only`) may be either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Families {
    /// `[::]` takes IPv4 too: one line of configuration, reachable by everybody.
    Both,
    /// IPv6 alone, where a socket of its own takes IPv4.
    Own,
}

impl Listening {
    /// A TCP socket for one of several workers that share the port.
    pub fn shared_port(address: SocketAddr, families: Families) -> io::Result<Self> {
        let socket = new_socket(address, families)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(socket.into()))
    }

    /// A Unix-domain socket. A file that is left from a process that is gone is replaced; one that a process serves is an error, and so
    /// is one that is no socket.
    ///
    /// The socket is made beside its place, given its permissions and moved there, so that nobody can connect before, and the
    /// place is never empty. It is not removed at the end: by then it may be the next process's.
    pub fn unix(path: &Path) -> io::Result<Self> {
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file that is no socket",
                ));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
        }
        let beside = path.with_file_name(format!(".{}", std::process::id()));
        drop(fs::remove_file(&beside));
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(&beside)?)?;
        let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(SOCKET_MODE))
            .and_then(|()| socket.listen(BACKLOG))
            .and_then(|()| fs::rename(&beside, path));
        if let Err(error) = placed {
            drop(fs::remove_file(&beside));
            return Err(error);
        }
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(socket.into()))
    }

    /// Another descriptor of the same socket: what it accepts, the other does not.
    pub fn duplicate(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Internet),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let unnamed = || io::Error::other("the Unix-domain socket has no path");
                address.as_pathname().map(|path| ListenAddress::Unix(path.to_owned())).ok_or_else(unnamed)
            }
        }
    }

    /// Takes over a socket that another process opened.
    pub(super) fn inherit(self) -> io::Result<Self> {
        let socket = match &self {
            Self::Tcp(listener) => SockRef::from(listener),
            Self::Unix(listener) => SockRef::from(listener),
        };
        socket.set_nonblocking(true)?;
        if let Self::Tcp(_) = self {
            socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        }
        Ok(self)
    }
}

/// The address with its real port, known to be free. SO_REUSEPORT would let a second process of the same user share the port
/// unnoticed, and requests would go to either; binding once without it is what makes a port in use an error.
pub fn claim_port(address: SocketAddr, families: Families) -> io::Result<SocketAddr> {
    let socket = new_socket(address, families)?;
    socket.bind(&address.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no internet address"))
}

fn new_socket(address: SocketAddr, families: Families) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME_WAIT. It does not let two sockets listen on one port.
    socket.set_reuse_address(true)?;
    // What is accepted has it from here, so that no connection costs a system call for it.
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    if address.is_ipv6() {
        socket.set_only_v6(families == Families::Own)?;
    }
    Ok(socket)
}

impl Acceptor {
    /// Serves the socket on the current runtime.
    pub fn new(listening: Listening) -> io::Result<Self> {
        match listening {
            Listening::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Self::Tcp),
            Listening::Unix(listener) => tokio::net::UnixListener::from_std(listener).map(Self::Unix),
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<(Plain, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Plain::Tcp(stream), Peer::Internet(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Plain::Unix(stream), Peer::Local))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_served_one_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.sock");
        let first = Listening::unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert_eq!(Listening::unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(path.exists());
        let second = Listening::unix(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        fs::write(&path, "mine").unwrap();
        assert!(Listening::unix(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn what_is_accepted_has_the_bound_on_unsent_bytes_that_was_set_before() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let Listening::Tcp(own) = Listening::shared_port(any, Families::Own).unwrap() else {
            panic!("it is TCP")
        };
        let inherited = Listening::Tcp(TcpListener::bind(any).unwrap()).inherit().unwrap();
        let Listening::Tcp(inherited) = inherited else { panic!("it is TCP") };
        for listener in [own, inherited] {
            listener.set_nonblocking(false).unwrap();
            let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        }
    }

    #[test]
    fn an_ipv6_socket_takes_ipv4_too_unless_a_socket_of_its_own_does() {
        let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
        for (families, taken) in [(Families::Both, true), (Families::Own, false)] {
            // Of a machine without IPv6 nothing can be said.
            let Ok(listening) = Listening::shared_port(any, families) else { return };
            let port = listening.address().unwrap().internet().unwrap().port();
            assert_eq!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), taken, "{families:?}");
        }
    }
}
