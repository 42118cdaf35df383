//! The server's side.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring::Ticketer,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{TlsError, names::ByName, pem, provider, stamp::Stamp};
use crate::{
    config::{ClientAuth, ServerTls},
    net::Plain,
};

/// How long a handshake may take. It needs two round trips and a signature; whoever takes longer holds a place that others need.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a port shows to its clients and asks of them; made again from its files while it serves.
pub struct Server {
    /// Where it is configured.
    pub(super) place: &'static str,
    pub(super) stamp: Stamp,
    spec: ServerTls,
    protocols: &'static [&'static str],
    current: ArcSwap<ServerConfig>,
}

impl Server {
    /// Reads the files. `place` names the configuration's table, `protocols` are those of ALPN, the best first.
    pub(super) fn load(
        place: &'static str,
        spec: ServerTls,
        protocols: &'static [&'static str],
    ) -> Result<Self, TlsError> {
        let files = spec.certificates.iter().flat_map(|files| [&files.cert, &files.key]);
        let stamp = Stamp::new(files.chain(&spec.client_ca).cloned().collect());
        let current = ArcSwap::from_pointee(configure(&spec, protocols)?);
        Ok(Self { place, stamp, spec, protocols, current })
    }

    /// Reads the files again, and if all is well, uses them for connections from now on.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(configure(&self.spec, self.protocols)?));
        Ok(())
    }

    /// Shakes hands. The caller bounds the time by [`HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    /// The client's fault or a broken connection: nothing of it concerns anybody else.
    pub async fn accept(&self, stream: Plain) -> io::Result<Box<TlsStream<Plain>>> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        Ok(Box::new(acceptor.accept(stream).await?.into()))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("place", &self.place).field("spec", &self.spec).finish_non_exhaustive()
    }
}

pub(super) fn configure(spec: &ServerTls, protocols: &[&str]) -> Result<ServerConfig, TlsError> {
    let identities: Result<Vec<_>, _> = spec.certificates.iter().map(pem::identity).collect();
    let names = ByName::new(identities?).expect("a checked configuration has a certificate");
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3");
    let verifier = verifier(spec)?;
    let asks_clients = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(names));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    // Tickets keep sessions at the clients, where a store of ours would be a lock between workers. Their key is new with every load,
    // so nobody resumes past certificates that are shown no longer. Without randomness for it there is no resumption, nor where clients show
    // certificates: a session that is taken up again is not asked for one, so one that has expired would count for a ticket's twelve hours.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if let (false, Ok(ticketer)) = (asks_clients, Ticketer::new()) {
        config.ticketer = ticketer;
    }
    Ok(config)
}

fn verifier(spec: &ServerTls) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = spec.client_ca.as_ref().filter(|_| spec.client_auth != ClientAuth::None) else {
        return Ok(None);
    };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(pem::authorities(path)?), provider());
    let builder = match spec.client_auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required | ClientAuth::None => builder,
    };
    let verifier = builder.build().map_err(|error| TlsError::new(path, error.to_string()))?;
    Ok(Some(verifier))
}
