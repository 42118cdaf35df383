//! The gate for HTTP/2, whose heads become HTTP/1 heads on the inside.
//!
//! The h2 crate refuses what RFC 9113 section 8 calls malformed. What would let a head mean something else once it is written as text
//! is looked for here again, because the check that matters is the one next to what relies on it.

use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request,
    uri::PathAndQuery,
};

use super::{check_target_length, is_authority};
use crate::proxy::error::Failure;

/// Lets a request's head in and makes it what the same request's head would be in HTTP/1: a path, a Host, one Cookie.
pub(in crate::proxy) fn admit(head: &mut request::Parts) -> Result<(), Failure> {
    check_target_length(head)?;
    check_hop(&head.headers)?;
    let host = host(head)?;
    let uri = std::mem::take(&mut head.uri).into_parts();
    // Without an authority the h2 crate gives no scheme, having checked that there is one.
    if !matches!(uri.scheme.as_ref().map(|scheme| scheme.as_str()), None | Some("http" | "https")) {
        return Err(Failure::BadRequest("Its scheme is neither http nor https."));
    }
    let path = uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let is_for_the_server = path.as_str() == "*" && head.method == Method::OPTIONS;
    if !path.as_str().starts_with('/') && !is_for_the_server {
        return Err(Failure::BadRequest("Its path does not begin with a slash."));
    }
    head.uri = Uri::from(path);
    head.headers.insert(HOST, host);
    join_cookies(&mut head.headers)
}

/// HTTP/2 has no headers that concern a connection (RFC 9113 section 8.2.2).
fn check_hop(headers: &HeaderMap) -> Result<(), Failure> {
    let names = [CONNECTION, TRANSFER_ENCODING, UPGRADE];
    let named = names.iter().any(|name| headers.contains_key(name))
        || headers.contains_key("keep-alive")
        || headers.contains_key("proxy-connection");
    let has_other_te = headers.get_all(TE).iter().any(|te| te != "trailers");
    if named || has_other_te {
        return Err(Failure::BadRequest("It has a header that HTTP/2 does not have."));
    }
    Ok(())
}

/// The authority, or a Host where there is none (RFC 9113 section 8.3.1). Two that differ would be routed by one and served by the other.
fn host(head: &request::Parts) -> Result<HeaderValue, Failure> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let named = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Failure::BadRequest("It has more than one Host."));
    }
    let host = match (authority, named) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Failure::BadRequest("Its authority and its Host differ."));
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err(Failure::BadRequest("It has no authority.")),
    };
    let error = || Failure::BadRequest("Its authority is not a host with an optional port.");
    if !is_authority(host) {
        return Err(error());
    }
    HeaderValue::from_bytes(host).map_err(|_| error())
}

/// HTTP/2 may split a cookie line for compression; HTTP/1 has one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Failure> {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return Ok(()) };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    let joined = HeaderValue::from_bytes(&joined)
        .map_err(|_| Failure::BadRequest("Its cookies are not a header's value."))?;
    headers.insert(COOKIE, joined);
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admitted(target: &str, headers: &[(&'static str, &str)]) -> Result<request::Parts, Failure> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        admit(&mut head).map(|()| head)
    }

    #[test]
    fn a_head_becomes_what_it_would_be_in_http1() {
        let head =
            admitted("http://a:80/x?y", &[("host", "A:80"), ("cookie", "b=1"), ("cookie", "c=2")]).unwrap();
        assert_eq!((head.uri.to_string(), head.headers[HOST].as_bytes()), ("/x?y".into(), &b"a:80"[..]));
        assert_eq!(head.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["b=1; c=2"]);
        assert_eq!(admitted("https://a/", &[("te", "trailers")]).unwrap().uri, "/");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (target, headers) in [
            ("http://a/", vec![("host", "b")]),
            ("http://a/", vec![("host", "a"), ("host", "a")]),
            ("http://user@a/", vec![]),
            ("/", vec![]),
            ("ftp://a/", vec![]),
            ("http://a/", vec![("connection", "close")]),
            ("http://a/", vec![("transfer-encoding", "chunked")]),
            ("http://a/", vec![("upgrade", "websocket")]),
            ("http://a/", vec![("te", "gzip")]),
        ] {
            assert!(
                matches!(admitted(target, &headers), Err(Failure::BadRequest(_))),
                "{target} {headers:?}"
            );
        }
    }
}
