//! Who calls by the certificate that it shows, where `[[admin.identities]]` says whose that is.
//!
//! The handshake has proven the certificate by then. What it is known by is looked for once for each connection.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::{
    config::{IdentitySpec, Mark, Role},
    net::Stream,
};

/// Whose certificates they are.
#[derive(Debug)]
pub(super) struct Identities(pub(super) Vec<IdentitySpec>);

/// The holder of a known certificate, in the extensions of its requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) role: Role,
}

impl Identities {
    /// Whose this connection is; the first that fits.
    pub(super) fn find(&self, stream: &Stream) -> Option<Identity> {
        if self.0.is_empty() {
            return None;
        }
        self.holder(stream.peer_certificate()?)
    }

    fn holder(&self, certificate: &[u8]) -> Option<Identity> {
        let der = CertificateDer::from(certificate);
        let known = EndEntityCert::try_from(&der).ok()?;
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let fits = |identity: &&IdentitySpec| match &identity.mark {
            Mark::Dns(name) => known.valid_dns_names().any(|given| given.eq_ignore_ascii_case(name)),
            Mark::Uri(uri) => known.valid_uri_names().any(|given| given == uri),
            Mark::Sha256(hash) => digest.as_ref() == hash,
        };
        let IdentitySpec { name, role, mark: _ } = self.0.iter().find(fits)?;
        Some(Identity { name: name.clone(), role: *role })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: &[&str], uri: &str) -> Vec<u8> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_known_by_a_name_a_uri_or_as_a_whole_and_by_nothing_like_it() {
        let shown = certificate(&["Ci.internal", "*.wild.internal"], "spiffe://a/ci");
        let hash = |bytes: &[u8]| {
            let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
            Mark::Sha256(digest.as_ref().try_into().unwrap())
        };
        let dns = |name: &str| Mark::Dns(name.to_owned());
        let uri = |uri: &str| Mark::Uri(uri.to_owned());
        for (mark, fits) in [
            (dns("ci.internal"), true),
            (dns("internal"), false),
            (dns("a.wild.internal"), false),
            (uri("spiffe://a/ci"), true),
            (uri("spiffe://a/ci/"), false),
            (hash(&shown), true),
            (hash(b"other"), false),
        ] {
            let spec = IdentitySpec { name: "ci".to_owned(), role: Role::Operator, mark: mark.clone() };
            assert_eq!(Identities(vec![spec]).holder(&shown).is_some(), fits, "{mark:?}");
        }
        assert_eq!(Identities(Vec::new()).holder(&shown), None);
        let spec = IdentitySpec { name: "ci".to_owned(), role: Role::Operator, mark: hash(b"") };
        assert_eq!(Identities(vec![spec]).holder(b"no certificate"), None);
    }
}
