//! Reads PEM files.

use std::{path::Path, sync::Arc};

use rustls::{
    Error, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{TlsError, provider};
use crate::fleet::CertificateFiles;

/// A chain and its key, which belong together: a key of another certificate would fail every handshake.
pub(super) fn identity(files: &CertificateFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = private_key(&files.key)?;
    let identity = CertifiedKey::from_der(chain, key, &provider());
    identity.map(Arc::new).map_err(|error| {
        if let Error::InconsistentKeys(_) = error {
            let cert = files.cert.display();
            return TlsError::new(
                &files.key,
                format!("it is not the private key of the first certificate in {cert}"),
            );
        }
        let file = if let Error::InvalidCertificate(_) = error { &files.cert } else { &files.key };
        TlsError::new(file, format!("it cannot be used: {error}"))
    })
}

/// The certificates of a file, in order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| TlsError::new(path, format!("it is not a PEM file: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::new(path, "it holds no certificate (BEGIN CERTIFICATE)"));
    }
    Ok(found)
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| TlsError::new(path, format!("unusable certificate of an authority: {error}")))?;
    }
    Ok(store)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        TlsError::new(path, "it holds no private key that is not encrypted (BEGIN PRIVATE KEY, RSA or EC)")
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::new(path, format!("cannot read the file: {error}")))
}
