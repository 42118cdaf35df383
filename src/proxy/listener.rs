//! Listening sockets, bound before anything is started.

use std::{io, net::SocketAddr, sync::Arc};

use crate::{
    net::{Families, ListenAddress, Listening, claim_port},
    tls,
};

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address.
    pub address: ListenAddress,
    /// TLS, if connections begin with it.
    pub tls: Option<Arc<tls::Server>>,
}

/// Listening sockets, bound but not served yet.
///
/// Of an internet address each worker has a socket of its own (SO_REUSEPORT), and the kernel spreads connections over them. A
/// Unix-domain socket cannot be had twice, and neither can one that was inherited: all workers accept from the same one, and
/// whichever is free first takes a connection.
#[derive(Debug)]
pub struct Listeners {
    bound: Vec<Listen>,
    by_worker: Vec<Vec<Listener>>,
}

/// One worker's socket for an address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) listening: Listening,
    pub(super) tls: Option<Arc<tls::Server>>,
    pub(super) at_stop: AtStop,
}

/// What becomes of connections that the kernel has completed and nobody has accepted when the worker stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AtStop {
    /// They are accepted: nobody else will.
    Accept,
    /// They stay in the socket, for the process that has it next.
    Leave,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address.
    pub address: ListenAddress,
    /// What the system said, and what would help.
    pub reason: String,
}

impl Listeners {
    /// Binds every address for each worker. Port 0 takes a free port, the same for all workers.
    ///
    /// `[::]` takes IPv4 as well, unless `0.0.0.0` with the same port is listed too.
    pub fn bind(listens: &[Listen], workers: usize) -> Result<Self, BindError> {
        let mut listeners = Self::none(workers);
        for listen in listens {
            listeners.add(listen, families(listen, listens)).map_err(|cause| BindError {
                address: listen.address.clone(),
                reason: explain(&cause, &listen.address),
            })?;
        }
        Ok(listeners)
    }

    /// No sockets for this many workers.
    fn none(workers: usize) -> Self {
        Self { bound: Vec::new(), by_worker: (0..workers.max(1)).map(|_| Vec::new()).collect() }
    }

    fn add(&mut self, listen: &Listen, families: Families) -> io::Result<()> {
        let address = match &listen.address {
            ListenAddress::Unix(path) => {
                let listening = Listening::unix(path)?;
                self.share(&listening, listen.tls.as_ref(), AtStop::Accept)?;
                listen.address.clone()
            }
            ListenAddress::Internet(wanted) => {
                let address = claim_port(*wanted, families)?;
                for listeners in &mut self.by_worker {
                    listeners.push(Listener {
                        listening: Listening::shared_port(address, families)?,
                        tls: listen.tls.clone(),
                        at_stop: AtStop::Accept,
                    });
                }
                ListenAddress::Internet(address)
            }
        };
        self.bound.push(Listen { address, tls: listen.tls.clone() });
        Ok(())
    }

    /// Adds a socket that another process opened and may go on using. What it has not accepted when it stops is left there.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn inherit(&mut self, listening: &Listening, tls: Option<Arc<tls::Server>>) -> io::Result<()> {
        self.share(listening, tls.as_ref(), AtStop::Leave)?;
        self.bound.push(Listen { address: listening.address()?, tls });
        Ok(())
    }

    fn share(
        &mut self,
        listening: &Listening,
        tls: Option<&Arc<tls::Server>>,
        at_stop: AtStop,
    ) -> io::Result<()> {
        for listeners in &mut self.by_worker {
            let listening = listening.duplicate()?;
            listeners.push(Listener { listening, tls: tls.cloned(), at_stop });
        }
        Ok(())
    }

    /// The addresses, with real ports.
    pub fn bound(&self) -> &[Listen] {
        &self.bound
    }

    /// The sockets of each worker.
    pub(super) fn into_workers(self) -> Vec<Vec<Listener>> {
        self.by_worker
    }
}

fn families(listen: &Listen, listens: &[Listen]) -> Families {
    let twin = |other: &Listen| match (&listen.address, &other.address) {
        (ListenAddress::Internet(SocketAddr::V6(own)), ListenAddress::Internet(SocketAddr::V4(other))) => {
            own.ip().is_unspecified() && other.ip().is_unspecified() && own.port() == other.port()
        }
        (_, _) => false,
    };
    if listens.iter().any(twin) { Families::Own } else { Families::Both }
}

fn explain(cause: &io::Error, address: &ListenAddress) -> String {
    let known: &[(io::ErrorKind, &str)] = match address {
        ListenAddress::Internet(_) => &[
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
        ],
        ListenAddress::Unix(_) => &[
            (
                io::ErrorKind::AddrInUse,
                "another process serves it; stop that process (`ss -lxp` names it) or choose another path",
            ),
            (io::ErrorKind::PermissionDenied, "permission denied; its directory must be writable"),
            (io::ErrorKind::NotFound, "there is no such directory"),
        ],
    };
    match known.iter().find(|(kind, _)| *kind == cause.kind()) {
        Some((_, advice)) => (*advice).to_owned(),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listen(address: SocketAddr) -> Listen {
        Listen { address: address.into(), tls: None }
    }

    fn loopback(port: u16) -> Listen {
        listen(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn port_zero_becomes_one_real_port_for_all_workers() {
        let listeners = Listeners::bind(&[loopback(0)], 3).unwrap();
        let address = listeners.bound()[0].address.clone();
        assert_ne!(address.internet().unwrap().port(), 0);
        let workers = listeners.into_workers();
        assert_eq!(workers.len(), 3);
        for sockets in &workers {
            assert_eq!(sockets[0].listening.address().unwrap(), address);
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_that_says_what_would_help() {
        for other_shares_ports in [false, true] {
            let taken = if other_shares_ports {
                Listeners::bind(&[loopback(0)], 1).unwrap().into_workers().remove(0).remove(0).listening
            } else {
                Listening::Tcp(TcpListener::bind("127.0.0.1:0").unwrap())
            };
            let address = taken.address().unwrap();
            let error = Listeners::bind(&[Listen { address, tls: None }], 2).unwrap_err().to_string();
            assert!(error.contains("in use") && error.contains("ss -ltnp"), "{error}");
        }
    }

    #[test]
    fn both_wildcards_of_one_port_go_together() {
        let free = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
        let six = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, free.port()));
        // Of a machine without IPv6 nothing can be said.
        if TcpListener::bind("[::1]:0").is_ok() {
            assert!(Listeners::bind(&[listen(six), listen(free)], 2).is_ok());
        }
    }

    #[test]
    fn all_workers_share_an_inherited_socket() {
        let inherited = Listening::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
        let mut listeners = Listeners::bind(&[], 2).unwrap();
        listeners.inherit(&inherited, None).unwrap();
        let address = inherited.address().unwrap();
        for sockets in listeners.into_workers() {
            assert_eq!(
                (sockets[0].listening.address().unwrap(), sockets[0].at_stop),
                (address.clone(), AtStop::Leave)
            );
        }
    }
}
