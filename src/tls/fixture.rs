//! Certificates for tests, made on the spot.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

use super::{Keychain, Server};
use crate::{
    config::{ClientAuth, ServerTls},
    fleet::CertificateFiles,
};

/// An authority whose own certificate is in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

impl Authority {
    /// A new one; `name` is its file's too.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A server with a new certificate for this name, which asks clients for none.
    pub(crate) fn server(
        &self,
        folder: &Path,
        name: &str,
        protocols: &'static [&'static str],
    ) -> Arc<Server> {
        let spec = ServerTls {
            certificates: vec![self.sign(folder, name, &[name])],
            client_ca: None,
            client_auth: ClientAuth::None,
        };
        Keychain::default().server("data.tls", &spec, protocols).unwrap()
    }

    /// Signs a new certificate with these names and writes it and its key.
    pub(crate) fn sign(&self, folder: &Path, file: &str, names: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles {
            cert: folder.join(format!("{file}.pem")),
            key: folder.join(format!("{file}.key")),
        };
        std::fs::write(&files.cert, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}
