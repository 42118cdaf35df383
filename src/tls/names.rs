//! Which certificate a client is shown.

use std::sync::Arc;

use rustls::{
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The first certificate that holds the name a client asks for (SNI), else the first of all: a client that asks for none, or for
/// a name that nobody has, learns from the certificate where it has come.
///
/// The names are those in the certificates themselves, compared as a client will compare them, so the configuration cannot
/// disagree with them. A look costs some microseconds in a handshake that costs hundreds.
#[derive(Debug)]
pub(super) struct ByName {
    first: Arc<CertifiedKey>,
    others: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    /// `None` when there is no certificate.
    pub(super) fn new(certificates: Vec<Arc<CertifiedKey>>) -> Option<Self> {
        let mut certificates = certificates.into_iter();
        Some(Self { first: certificates.next()?, others: certificates.collect() })
    }

    pub(super) fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let Some(name) = name.filter(|_| !self.others.is_empty()) else { return &self.first };
        if holds(&self.first, &name) {
            return &self.first;
        }
        self.others.iter().find(|certificate| holds(certificate, &name)).unwrap_or(&self.first)
    }
}

fn holds(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certificate.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(hello.server_name())))
    }
}
