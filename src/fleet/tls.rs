//! How connections to a fleet's instances are secured.

use std::path::PathBuf;

/// TLS to a fleet's instances. A server is always verified: a check that can be switched off is off where it matters.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct UpstreamTls {
    /// A PEM file with the authorities that are trusted, and no others; without it the system's are.
    pub ca: Option<PathBuf>,
    /// The name that an instance's certificate must hold; without it, the host of its address.
    pub server_name: Option<String>,
    /// What the proxy shows to instances that ask for a client certificate.
    pub identity: Option<CertificateFiles>,
}

/// A certificate and its key, in PEM files.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CertificateFiles {
    /// The certificate, followed by the intermediate ones.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
