//! Heads over HTTP/2 to an instance: the request's, with what passes on and what the proxy adds, and the response's, checked.

use bytes::Bytes;
use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY, TE},
    request, response,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{
    decode::{self, Malformed},
    forwarded::Downstream,
    headers::{self, ConnectionLine, Kind, NewId},
};

/// What the proxy adds to a request.
#[derive(Debug)]
pub(super) struct Additions<'a, 'b> {
    pub(super) downstream: &'a Downstream,
    /// Names the host when the client, speaking HTTP/1.0, did not.
    pub(super) instance: &'a str,
    /// Of the connection to the instance.
    pub(super) scheme: Scheme,
    /// The protocol that the client wants to switch to.
    pub(super) upgrade: Option<&'a str>,
    pub(super) id: &'a mut NewId<'b>,
}

/// A request's head as the instance gets it, leaving out what does not pass. The client's stays as it is, for a second try. `None` if its
/// target cannot be written so, which the gate lets no target be.
pub(super) fn request(head: &request::Parts, additions: Additions<'_, '_>) -> Option<Request<()>> {
    let Additions { downstream, instance, scheme, upgrade, id } = additions;
    let mut connection = ConnectionLine::default();
    for line in head.headers.get_all(CONNECTION) {
        connection.add(line.as_bytes());
    }
    let mut passed = HeaderMap::with_capacity(head.headers.len() + 4);
    let (mut has_id, mut takes_trailers) = (false, false);
    for (name, value) in &head.headers {
        match headers::kind(name.as_str()) {
            Kind::Host | Kind::Coding | Kind::Connection | Kind::SingleHop | Kind::Forwarded | Kind::Own => {
                continue;
            }
            Kind::Te => {
                takes_trailers |= headers::names_trailers(value);
                continue;
            }
            Kind::RequestId => has_id = true,
            Kind::Other | Kind::Underscored if connection.names(name) => continue,
            // HTTP/2 has no use for it (RFC 8441 section 5).
            Kind::Other if upgrade.is_some() && name == SEC_WEBSOCKET_KEY => continue,
            Kind::Length | Kind::Trailer | Kind::Underscored | Kind::Other => {}
        }
        passed.append(name.clone(), value.clone());
    }
    downstream.write(&mut passed, &head.headers);
    if !has_id && let Ok(id) = HeaderValue::from_bytes(id.get()) {
        passed.insert(&headers::REQUEST_ID, id);
    }
    if takes_trailers {
        passed.insert(TE, HeaderValue::from_static("trailers"));
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target(head, scheme, instance)?;
    *request.headers_mut() = passed;
    if let Some(protocol) = upgrade {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    Some(request)
}

/// The gate has let in a path, and a host that is one.
fn target(head: &request::Parts, scheme: Scheme, instance: &str) -> Option<Uri> {
    let host = head.headers.get(HOST).map_or(instance.as_bytes(), HeaderValue::as_bytes);
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Authority::from_maybe_shared(Bytes::copy_from_slice(host)).ok();
    let path = head.uri.path_and_query();
    parts.path_and_query = Some(path.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

/// Checks a response's head and takes out what does not pass. How many bytes its body must have, if it says so.
pub(super) fn check_response(head: &mut response::Parts, method: &Method) -> Result<Option<u64>, Malformed> {
    if !(200..=599).contains(&head.status.as_u16()) {
        return Err(Malformed("Its status is not a final one from 200 to 599."));
    }
    let passes = |name: &http::HeaderName| match headers::kind(name.as_str()) {
        Kind::Connection | Kind::Coding | Kind::SingleHop | Kind::Te | Kind::Own => false,
        Kind::Host
        | Kind::Length
        | Kind::Trailer
        | Kind::Forwarded
        | Kind::RequestId
        | Kind::Underscored
        | Kind::Other => true,
    };
    if !head.headers.keys().all(passes) {
        let dropped: Vec<_> = head.headers.keys().filter(|name| !passes(name)).cloned().collect();
        for name in &dropped {
            head.headers.remove(name);
        }
    }
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => {
            let number = decode::number(length.as_bytes());
            Some(number.ok_or(Malformed("Its Content-Length is not a number."))?)
        }
        (Some(_), Some(_)) => return Err(Malformed("Its length can be read in more than one way.")),
    };
    let is_empty =
        method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(if is_empty { Some(0) } else { length })
}
