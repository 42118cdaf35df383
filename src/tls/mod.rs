//! TLS on every side, by rustls: its servers, its clients, and the files that both are made from.
//!
//! Only what is safe can be had: TLS 1.2 and 1.3, no early data, no renegotiation, and every server verified. The cryptography is
//! ring's, since aws-lc-rs compiles a C library many times its size for algorithms that no client of an inference API needs.
//!
//! Whatever is made from files is kept in a [`Keychain`], which makes it again when the files change. A file that cannot be used
//! changes nothing; connections that are open stay as they are.

mod client;
mod error;
mod keychain;
mod names;
mod pem;
mod server;
mod stamp;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use client::Connector;
pub use error::TlsError;
pub use keychain::{Keychain, Refreshed, Which};
pub use server::{HANDSHAKE_TIMEOUT, Server};
pub(crate) use stamp::Stamp;

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};

/// The cryptography of every connection.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}
