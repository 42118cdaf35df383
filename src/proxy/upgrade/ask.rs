//! What a request wants to switch to, and whether an answer does.

use std::rc::Rc;

use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    request,
};
use rand::Rng;

use super::websocket::{self, Key};
use crate::{
    proxy::{decode::Malformed, error::Failure, upload::RequestBody},
    route::Upgrades,
};

/// The protocol with a proof in its handshake.
const WEBSOCKET: &str = "websocket";

/// A request to switch protocols that its endpoint allows. A second try asks for the same.
#[derive(Debug)]
pub(in crate::proxy) struct Ask {
    /// In lower case.
    protocol: Box<str>,
    /// What a WebSocket's answer must prove.
    accept: Option<[u8; 28]>,
    way: Way,
}

/// How the client asks.
#[derive(Debug)]
enum Way {
    /// `Upgrade`, on a connection in HTTP/1.1.
    Upgrade,
    /// Extended CONNECT, on a stream in HTTP/2.
    Connect,
}

impl Ask {
    /// What the request asks for, if the endpoint allows it. In HTTP/1.1 anything else is ignored (RFC 9110 section 7.8), and with it
    /// h2c, which some clients offer with every request.
    pub(in crate::proxy) fn of(
        head: &mut request::Parts,
        body: Option<&Rc<RequestBody>>,
        upgrades: &Upgrades,
        rng: &mut impl Rng,
    ) -> Result<Option<Rc<Self>>, Failure> {
        // The h2 crate lets it pass with CONNECT alone.
        let (protocol, way) = match head.extensions.remove::<Protocol>() {
            Some(protocol) => {
                let protocol = upgrades.find(protocol.as_str()).ok_or(Failure::UnknownProtocol)?;
                (protocol, Way::Connect)
            }
            None if head.version != Version::HTTP_11 => return Ok(None),
            None => match offered(&head.headers).find_map(|token| upgrades.find(token)) {
                Some(protocol) => (protocol, Way::Upgrade),
                None => return Ok(None),
            },
        };
        // What came after a head that two readers end differently would be the tunnel's to one and a request to the other.
        if head.method != Method::GET || body.is_some() {
            return Err(Failure::BadRequest("It asks for another protocol, but is no GET without a body."));
        }
        let mut accept = None;
        if protocol == WEBSOCKET {
            let key = match way {
                Way::Upgrade => only_key(&head.headers)?,
                // HTTP/2 has no key, and the instance needs one (RFC 8441 section 5).
                Way::Connect => {
                    let key = websocket::new_key(rng);
                    let value = HeaderValue::from_bytes(&key).expect("base64 is a header's value");
                    head.headers.insert(SEC_WEBSOCKET_KEY, value);
                    key
                }
            };
            accept = Some(websocket::accept(&key));
        }
        Ok(Some(Rc::new(Self { protocol: protocol.into(), accept, way })))
    }

    /// What the instance is asked to switch to.
    pub(in crate::proxy) fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Whether a 101 with these headers is the answer to this request.
    pub(in crate::proxy) fn check_answer(&self, headers: &[httparse::Header<'_>]) -> Result<(), Malformed> {
        let values = |name: HeaderName| {
            let fits = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name.as_str());
            headers.iter().filter(fits).map(|header| header.value)
        };
        let mut protocols = values(UPGRADE);
        match (protocols.next(), protocols.next()) {
            (Some(protocol), None) if protocol.eq_ignore_ascii_case(self.protocol.as_bytes()) => {}
            _ => return Err(Malformed("It switches to another protocol than was asked for.")),
        }
        if !values(CONNECTION).any(names_upgrade) {
            return Err(Malformed("It switches protocols, and its Connection does not say so."));
        }
        let mut proofs = values(SEC_WEBSOCKET_ACCEPT);
        match (&self.accept, proofs.next(), proofs.next()) {
            (None, _, _) => Ok(()),
            (Some(accept), Some(proof), None) if accept == proof => Ok(()),
            (Some(_), _, _) => Err(Malformed("It does not prove that it understood the WebSocket's key.")),
        }
    }

    /// Makes the headers of the instance's 101, or of what stands for it in HTTP/2, what the client is told, with this status.
    pub(in crate::proxy) fn answer(&self, headers: &mut HeaderMap) -> StatusCode {
        match &self.way {
            Way::Upgrade => {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                let protocol = HeaderValue::from_str(&self.protocol).expect("a token is a header's value");
                headers.insert(UPGRADE, protocol);
                // An instance of HTTP/1 has proven it; to one of HTTP/2 its settings and this answer are what the proof is here.
                if let Some(accept) = &self.accept {
                    let proof = HeaderValue::from_bytes(accept).expect("base64 is a header's value");
                    headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
                }
                StatusCode::SWITCHING_PROTOCOLS
            }
            Way::Connect => {
                headers.remove(SEC_WEBSOCKET_ACCEPT);
                StatusCode::OK
            }
        }
    }

    /// Whether an answer with this status, which is not 101, would be taken for a tunnel: any success is one in HTTP/2.
    pub(in crate::proxy) fn would_mistake(&self, status: StatusCode) -> bool {
        match self.way {
            Way::Upgrade => false,
            Way::Connect => status.is_success(),
        }
    }
}

/// The protocols that a request in HTTP/1.1 offers, if it names `Upgrade` as its connection's.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let is_named = headers.contains_key(UPGRADE)
        && headers.get_all(CONNECTION).iter().any(|line| names_upgrade(line.as_bytes()));
    let lines = headers.get_all(UPGRADE).iter().filter(move |_| is_named);
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim)
}

fn names_upgrade(connection: &[u8]) -> bool {
    connection.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn only_key(headers: &HeaderMap) -> Result<Key, Failure> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let only = keys.next().filter(|_| keys.next().is_none());
    only.and_then(|key| websocket::key(key.as_bytes()))
        .ok_or(Failure::BadRequest("It asks for a WebSocket without exactly one valid Sec-WebSocket-Key."))
}
