//! The client's side: connections to model servers, and the command line's to an admin port.

use std::{io, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore,
    client::ResolvesClientCert,
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_rustls::{TlsConnector, TlsStream};

use super::{TlsError, pem, provider, stamp::Stamp};
use crate::{fleet::UpstreamTls, net::Plain};

/// Makes connections that are verified like this; made again from its files while it serves.
pub struct Connector {
    pub(super) spec: Arc<UpstreamTls>,
    pub(super) stamp: Stamp,
    /// Files that cannot be read at first make connections fail and say why, as a model server that is not there does. A process
    /// that recovers must not be kept from serving the other fleets.
    current: ArcSwap<Result<Arc<ClientConfig>, TlsError>>,
}

impl Connector {
    /// Reads the files.
    pub fn new(spec: Arc<UpstreamTls>) -> Self {
        let identity = spec.identity.iter().flat_map(|files| [&files.cert, &files.key]);
        let stamp = Stamp::new(spec.ca.iter().chain(identity).cloned().collect());
        let current = ArcSwap::from_pointee(configure(&spec).map(Arc::new));
        Self { spec, stamp, current }
    }

    /// Why no connection can be made, if so.
    pub fn problem(&self) -> Option<TlsError> {
        self.current.load().as_ref().as_ref().err().cloned()
    }

    /// Reads the files again, and if all is well, uses them for connections from now on.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let config = configure(&self.spec)?;
        self.current.store(Arc::new(Ok(Arc::new(config))));
        Ok(())
    }

    /// Shakes hands with a server at `host`, which must show a certificate for that name, or for the configured one. `protocols` are
    /// those of ALPN, the best first. The caller bounds the time.
    pub async fn connect(
        &self,
        stream: Plain,
        host: Option<&str>,
        protocols: &[&str],
    ) -> io::Result<Box<TlsStream<Plain>>> {
        let config = self.current.load().as_ref().clone().map_err(io::Error::other)?;
        let name = self.spec.server_name.as_deref().or(host).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "no name to look for in the certificate: set server_name",
            )
        })?;
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(config);
        Ok(Box::new(connector.with_alpn(protocols).connect(name, stream).await?.into()))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("spec", &self.spec).finish_non_exhaustive()
    }
}

fn configure(spec: &UpstreamTls) -> Result<ClientConfig, TlsError> {
    let roots = match &spec.ca {
        Some(path) => pem::authorities(path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    Ok(match &spec.identity {
        Some(files) => builder.with_client_cert_resolver(single(pem::identity(files)?)),
        None => builder.with_no_client_auth(),
    })
}

fn single(identity: Arc<CertifiedKey>) -> Arc<dyn ResolvesClientCert> {
    Arc::new(SingleCertAndKey::from(identity))
}

/// The authorities that this machine trusts, rather than a list compiled in: a company's own authority is there, and what the
/// system stops trusting is trusted no more here.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let reason = format!(
            "this machine has no authorities that could be trusted{why}: install its ca-certificates, or name a file with ca"
        );
        return Err(TlsError::new(Path::new("system roots"), reason));
    }
    Ok(store)
}
