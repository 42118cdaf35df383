//! Which sockets a process serves: those it opens, and those it inherits.
//!
//! An inherited socket called `data`, `data-tls` or `admin` stands for all addresses of that part of the configuration, which are
//! then not opened; under systemd the name is `FileDescriptorName=`. One called something else stands for the configured address
//! that it listens on. A socket that stands for nothing is an error: its clients would wait for ever.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use super::StartError;
use crate::{
    config::{AdminConfig, Config},
    net::{Inherited, ListenAddress, Listening},
    proxy::{Listen, Listeners, PROTOCOLS},
    tls::{Keychain, Server},
};

/// The protocols that the admin port offers in TLS handshakes.
const ADMIN_PROTOCOLS: &[&str] = &["http/1.1"];

/// Everything that is listened on.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) listeners: Listeners,
    pub(super) admin: TcpListener,
    pub(super) admin_tls: Option<Arc<Server>>,
}

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Data,
    DataTls,
    Admin,
}

/// What is still to be opened, and what need not be.
struct Wanted {
    plain: Vec<Listen>,
    secure: Vec<Listen>,
    data: Vec<(Listening, Option<Arc<Server>>)>,
    admin: Option<TcpListener>,
}

impl Sockets {
    /// Reads the certificates and opens what is not inherited.
    pub(super) fn open(
        config: &Config,
        keychain: &Keychain,
        inherited: Vec<Inherited>,
    ) -> Result<Self, StartError> {
        let data_tls = config.data.tls.as_ref();
        let server = data_tls.map(|tls| keychain.server("data.tls", &tls.server, PROTOCOLS)).transpose()?;
        let admin_tls = config.admin.tls.as_ref();
        let admin_tls =
            admin_tls.map(|tls| keychain.server("admin.tls", &tls.0, ADMIN_PROTOCOLS)).transpose()?;

        let secure = data_tls.map(|tls| tls.listen.as_slice()).unwrap_or_default();
        // Where TLS has no addresses of its own, it has those of the data port.
        let tls_of_plain = server.clone().filter(|_| secure.is_empty());
        let listens = |addresses: &[ListenAddress], tls: &Option<Arc<Server>>| -> Vec<Listen> {
            addresses.iter().map(|address| Listen { address: address.clone(), tls: tls.clone() }).collect()
        };
        let mut wanted = Wanted {
            plain: listens(&config.data.listen, &tls_of_plain),
            secure: listens(secure, &server),
            data: Vec::new(),
            admin: None,
        };
        wanted.take_inherited(inherited, config, &tls_of_plain, &server)?;

        let Wanted { mut plain, secure, data, admin } = wanted;
        plain.extend(secure);
        let mut listeners = Listeners::bind(&plain, config.data.workers)?;
        for (listening, tls) in &data {
            listeners.inherit(listening, tls.clone())?;
        }
        let admin = match admin {
            Some(admin) => admin,
            None => bind_admin(&config.admin)?,
        };
        Ok(Self { listeners, admin, admin_tls })
    }
}

impl Wanted {
    fn take_inherited(
        &mut self,
        inherited: Vec<Inherited>,
        config: &Config,
        tls_of_plain: &Option<Arc<Server>>,
        server: &Option<Arc<Server>>,
    ) -> Result<(), StartError> {
        let configured = (self.plain.clone(), self.secure.clone());
        for Inherited { name, listening } in inherited {
            let address = listening.address()?;
            let is_at = |listens: &[Listen]| listens.iter().any(|listen| listen.address == address);
            let part = match name.as_str() {
                "data" => Some(Part::Data),
                "data-tls" if server.is_some() => Some(Part::DataTls),
                "admin" => Some(Part::Admin),
                _ if is_at(&configured.0) => Some(Part::Data),
                _ if is_at(&configured.1) => Some(Part::DataTls),
                _ if address == ListenAddress::Internet(config.admin.listen) => Some(Part::Admin),
                _ => None,
            };
            let is_named = matches!(name.as_str(), "data" | "data-tls" | "admin");
            let is_left = |listen: &Listen| !is_named && listen.address != address;
            match (part, listening) {
                (Some(Part::Data), listening) => {
                    self.plain.retain(is_left);
                    self.data.push((listening, tls_of_plain.clone()));
                }
                (Some(Part::DataTls), listening) => {
                    self.secure.retain(is_left);
                    self.data.push((listening, server.clone()));
                }
                (Some(Part::Admin), Listening::Tcp(listener)) if self.admin.is_none() => {
                    check_admin(&listener, &config.admin)?;
                    self.admin = Some(listener);
                }
                (Some(Part::Admin) | None, _) => return Err(StartError::Inherited { name, address }),
            }
        }
        Ok(())
    }
}

/// What the configuration refuses for an address it names is refused for one that it does not see, too.
fn check_admin(listener: &TcpListener, config: &AdminConfig) -> Result<(), StartError> {
    let address = listener.local_addr()?;
    let asks_who = config.tls.as_ref().is_some_and(|tls| tls.0.client_ca.is_some());
    if address.ip().is_loopback() || config.allow_remote || asks_who || config.tokens_file.is_some() {
        return Ok(());
    }
    Err(StartError::AdminBind {
        address,
        reason: "the inherited socket can be reached from other machines: listen on 127.0.0.1, or set admin.tokens_file, admin.tls with \
                 client_ca, or admin.allow_remote"
            .to_owned(),
    })
}

fn bind_admin(config: &AdminConfig) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(config.listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| StartError::AdminBind {
        address: config.listen,
        reason: if error.kind() == std::io::ErrorKind::AddrInUse {
            "the address is in use: end the process that has it, or set another one in [admin] listen"
                .to_owned()
        } else {
            error.to_string()
        },
    })
}

/// The internet addresses among those that are listened on.
pub(super) fn internet_addresses(listeners: &Listeners) -> Vec<SocketAddr> {
    listeners.bound().iter().filter_map(|listen| listen.address.internet()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn inherited(name: &str) -> (Inherited, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Inherited { name: name.to_owned(), listening: Listening::Tcp(listener) }, address)
    }

    fn open(text: &str, inherited: Vec<Inherited>) -> Result<Sockets, StartError> {
        Sockets::open(&config::parse(text, "test").unwrap(), &Keychain::default(), inherited)
    }

    #[test]
    fn a_named_socket_stands_for_all_addresses_of_its_part() {
        let ((data, at), (admin, admin_at)) = (inherited("data"), inherited("admin"));
        let text = "data = { listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"], workers = 2 }";
        let sockets = open(text, vec![data, admin]).unwrap();
        assert_eq!(internet_addresses(&sockets.listeners), [at]);
        assert_eq!(sockets.admin.local_addr().unwrap(), admin_at);
    }

    #[test]
    fn a_socket_with_another_name_stands_for_the_address_that_it_listens_on() {
        let (data, at) = inherited("snapback.socket");
        let text = format!(
            "data = {{ listen = [\"127.0.0.1:0\", \"{at}\"] }}\nadmin = {{ listen = \"127.0.0.1:0\" }}"
        );
        let sockets = open(&text, vec![data]).unwrap();
        let addresses = internet_addresses(&sockets.listeners);
        assert_eq!((addresses.len(), addresses[1]), (2, at));
    }

    #[test]
    fn a_socket_that_stands_for_nothing_is_an_error_that_names_it() {
        for name in ["", "data-tls", "other"] {
            let (socket, at) = inherited(name);
            let error = open("admin = { listen = \"127.0.0.1:0\" }", vec![socket]).unwrap_err().to_string();
            assert!(error.contains(&at.to_string()) && error.contains("FileDescriptorName"), "{error}");
        }
    }
}
