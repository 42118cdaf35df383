//! Listening sockets, bound before anything is started.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes before a worker accepts them. Linux cuts it to `net.core.somaxconn` (4096 since 5.4).
const BACKLOG: i32 = 4096;

/// Listening sockets, bound but not served yet: each worker has one for each address (SO_REUSEPORT).
#[derive(Debug)]
pub struct Listeners {
    addresses: Vec<SocketAddr>,
    by_worker: Vec<Vec<TcpListener>>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said, and what would help.
    pub reason: String,
}

impl Listeners {
    /// Binds every address once for each worker. Port 0 takes a free port, the same for all workers.
    pub fn bind(addresses: &[SocketAddr], workers: usize) -> Result<Self, BindError> {
        let workers = workers.max(1);
        let mut by_worker: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
        let mut resolved = Vec::with_capacity(addresses.len());
        for &wanted in addresses {
            let error = |cause: io::Error| BindError { address: wanted, reason: explain(&cause) };
            let address = claim(wanted).map_err(error)?;
            for listeners in &mut by_worker {
                listeners.push(listen(address).map_err(error)?);
            }
            resolved.push(address);
        }
        Ok(Self { addresses: resolved, by_worker })
    }

    /// The addresses with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The sockets of each worker.
    pub(super) fn into_workers(self) -> Vec<Vec<TcpListener>> {
        self.by_worker
    }
}

/// The address with its real port, known to be free. SO_REUSEPORT would let a second process of the same user share the port
/// unnoticed, and requests would go to either; binding once without it is what makes a port in use an error.
fn claim(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = new_socket(address)?;
    socket.bind(&address.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no internet address"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME_WAIT. It does not let two sockets listen on one port.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn explain(cause: &io::Error) -> String {
    let known = [
        (
            io::ErrorKind::AddrInUse,
            "the port is in use; stop the process that has it (`ss -ltnp` names it) or choose another port",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, others do not",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "no interface of this machine has the address; 0.0.0.0 or [::] takes all of them",
        ),
    ];
    match known.iter().find(|(kind, _)| *kind == cause.kind()) {
        Some((_, advice)) => (*advice).to_owned(),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn port_zero_becomes_one_real_port_for_all_workers() {
        let listeners = Listeners::bind(&[loopback(0)], 3).unwrap();
        let address = listeners.addresses()[0];
        assert_ne!(address.port(), 0);
        let workers = listeners.into_workers();
        assert_eq!(workers.len(), 3);
        for sockets in &workers {
            assert_eq!(sockets[0].local_addr().unwrap(), address);
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_that_says_what_would_help() {
        for other_shares_ports in [false, true] {
            let taken = if other_shares_ports {
                Listeners::bind(&[loopback(0)], 1).unwrap().into_workers().remove(0).remove(0)
            } else {
                TcpListener::bind(loopback(0)).unwrap()
            };
            let error = Listeners::bind(&[taken.local_addr().unwrap()], 2).unwrap_err().to_string();
            assert!(error.contains("in use") && error.contains("ss -ltnp"), "{error}");
        }
    }
}
