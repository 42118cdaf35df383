//! Who asks, as far as a request says: the names it gives, and where it came from.
//!
//! Where tokens are asked for, a name is the token's; else it is what a caller claims. The address and the certificate that it showed are what the connection
//! proves. Events keep both.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};

use super::{problem::Fault, tokens::Caller};
use crate::{control::Actor, net::Stream};

/// The header that says who asks.
const ACTOR_HEADER: &str = "x-snapback-actor";
/// The header that says why, for requests whose body has no place for it.
const REASON_HEADER: &str = "x-snapback-reason";
/// Who asks when nobody says.
const DEFAULT_ACTOR: &str = "operator";
/// Longer than any account name or mail address; it stands in every event.
const ACTOR_LIMIT: usize = 128;
/// Longer than any sentence; it stands in events and journal. What is longer is cut.
const REASON_LIMIT: usize = 1_000;
/// So many bytes of a certificate's SHA-256 tell it from any other that the port's authorities have signed.
const FINGERPRINT_BYTES: usize = 16;

/// Where a connection comes from, in the extensions of its requests.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) String);

/// What a request's head says of who asks.
#[derive(Debug)]
pub(super) struct HeaderActor {
    /// Of the token that was shown.
    proven: Option<String>,
    name: Option<String>,
    reason: Option<String>,
    peer: Option<String>,
}

impl Peer {
    /// The address, without the port, which says nothing once the connection is gone; and the certificate that was shown, by the beginning of its
    /// SHA-256.
    pub(super) fn of(address: SocketAddr, stream: &Stream) -> Self {
        let mut text = address.ip().to_canonical().to_string();
        if let Some(certificate) = stream.peer_certificate() {
            let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
            let print = digest.as_ref().iter().take(FINGERPRINT_BYTES);
            let print: String = print.map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!(" certificate {print}"));
        }
        Self(text)
    }
}

impl HeaderActor {
    /// Who asks. A token's name counts before the header, and that before the body.
    pub(super) fn or(self, body: Option<String>) -> Result<Actor, Fault> {
        self.because(body, String::new())
    }

    /// Who asks, and why. What the headers say counts before the body.
    pub(super) fn because(self, name: Option<String>, reason: String) -> Result<Actor, Fault> {
        let name = match (self.proven, self.name.or(name)) {
            (Some(name), _) => name,
            (None, Some(name)) => check_actor(name)?,
            (None, None) => DEFAULT_ACTOR.to_owned(),
        };
        let reason = self.reason.unwrap_or(reason).chars().take(REASON_LIMIT).collect();
        Ok(Actor { name, peer: self.peer, reason })
    }

    /// Whoever has this key, whatever the header says.
    pub(super) fn signed_by(self, key: String) -> Actor {
        let reason = self.reason.unwrap_or_default().chars().take(REASON_LIMIT).collect();
        Actor { name: key, peer: self.peer, reason }
    }

    /// The same of a request that is not served, whatever it says: for the record of its refusal.
    pub(super) fn of_refused(headers: &HeaderMap, peer: Option<&Peer>) -> Actor {
        let said = |name| text_in(headers, name).ok().flatten();
        let name = said(ACTOR_HEADER).and_then(|name| check_actor(name).ok());
        let reason = said(REASON_HEADER).unwrap_or_default().chars().take(REASON_LIMIT).collect();
        let name = name.unwrap_or_else(|| DEFAULT_ACTOR.to_owned());
        Actor { name, peer: peer.map(|Peer(text)| text.clone()), reason }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for HeaderActor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Fault> {
        Ok(Self {
            proven: parts.extensions.get().map(|Caller(name)| name.clone()),
            name: text_in(&parts.headers, ACTOR_HEADER)?,
            reason: text_in(&parts.headers, REASON_HEADER)?,
            peer: parts.extensions.get().map(|Peer(text)| text.clone()),
        })
    }
}

fn check_actor(name: String) -> Result<String, Fault> {
    let fits = (1..=ACTOR_LIMIT).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits {
        Ok(name)
    } else {
        Err(Fault::Actor(format!(
            "an actor's name has 1 to {ACTOR_LIMIT} bytes and no control characters; leave it out to be {DEFAULT_ACTOR:?}"
        )))
    }
}

fn text_in(headers: &HeaderMap, name: &str) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(Fault::Actor(format!("{name} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: Option<&str>) -> HeaderActor {
        HeaderActor { proven: None, name: name.map(str::to_owned), reason: None, peer: None }
    }

    #[test]
    fn the_header_counts_before_the_body_and_the_body_before_the_default() {
        let body = || Some("body".to_owned());
        assert_eq!(header(Some("header")).or(body()).unwrap().name, "header");
        assert_eq!(header(None).or(body()).unwrap().name, "body");
        assert_eq!(header(None).or(None).unwrap().name, "operator");
    }

    #[test]
    fn a_tokens_name_counts_before_every_claim() {
        let shown = HeaderActor { proven: Some("ci".to_owned()), ..header(Some("header")) };
        assert_eq!(shown.or(Some("body".to_owned())).unwrap().name, "ci");
    }

    #[test]
    fn a_reason_is_the_headers_or_the_bodys_and_has_an_end() {
        let said = HeaderActor { reason: Some("header".to_owned()), ..header(None) };
        assert_eq!(said.because(None, "body".to_owned()).unwrap().reason, "header");
        assert_eq!(
            header(None).because(None, "\u{fc}".repeat(2_000)).unwrap().reason,
            "\u{fc}".repeat(1_000)
        );
    }

    #[test]
    fn an_actor_that_would_break_a_line_or_fill_a_page_is_refused() {
        for bad in ["", "a\nb", &"a".repeat(129)] {
            assert_eq!(header(Some(bad)).or(None).unwrap_err().document().status, 400);
        }
    }
}
