//! The gate for HTTP/2, whose heads become HTTP/1 heads on the inside.
//!
//! The h2 crate refuses what RFC 9113 section 8 calls malformed. What would let a head mean something else once it is written as text
//! is looked for here again, because the check that matters is the one next to what relies on it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request,
    uri::PathAndQuery,
};

use super::{Bounds, check_target_length, is_authority};
use crate::{
    proxy::{
        error::Failure,
        headers::{self, Kind},
    },
    route::Underscores,
};

/// What each header adds to a head's size beside its text.
const FIELD_BYTES: usize = 32;

/// Lets a request's head in and makes it what the same request's head would be in HTTP/1: a path, a Host, one Cookie.
pub(in crate::proxy) fn admit(head: &mut request::Parts, bounds: Bounds) -> Result<(), Failure> {
    check_target_length(head)?;
    check_size(head, bounds.limit_bytes)?;
    check_hop(&head.headers)?;
    check_names(&mut head.headers, bounds.underscores)?;
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

/// The size of a head is what RFC 9113 section 6.5.2 says: names, values, and 32 bytes for each. The h2 crate lets twice the limit through, so
/// that what is too large is answered and counted here.
fn check_size(head: &request::Parts, limit_bytes: usize) -> Result<(), Failure> {
    let uri = &head.uri;
    let pseudo = [
        (":method", Some(head.method.as_str())),
        (":scheme", uri.scheme_str()),
        (":authority", uri.authority().map(|authority| authority.as_str())),
        (":path", uri.path_and_query().map(|path| path.as_str())),
    ];
    let pseudo = pseudo.iter().filter_map(|(name, value)| Some(name.len() + (*value)?.len() + FIELD_BYTES));
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    if pseudo.chain(fields).sum::<usize>() > limit_bytes { Err(Failure::LargeHead) } else { Ok(()) }
}

/// Takes names with underscores out, where they do not pass.
fn check_names(headers: &mut HeaderMap, underscores: Underscores) -> Result<(), Failure> {
    let is_underscored = |name: &&HeaderName| headers::kind(name.as_str()) == Kind::Underscored;
    if underscores == Underscores::Pass || !headers.keys().any(|name| is_underscored(&name)) {
        return Ok(());
    }
    if underscores == Underscores::Refuse {
        return Err(headers::UNDERSCORED);
    }
    let names: Vec<_> = headers.keys().filter(is_underscored).cloned().collect();
    for name in &names {
        headers.remove(name);
    }
    Ok(())
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

    const BOUNDS: Bounds = Bounds { limit_bytes: 1024, underscores: Underscores::Drop };

    fn admitted(target: &str, headers: &[(&'static str, &str)]) -> Result<request::Parts, Failure> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        admit(&mut head, BOUNDS).map(|()| head)
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
    fn a_head_is_as_large_as_its_lines_with_32_bytes_for_each() {
        // The four that begin with a colon take 10 + 11 + 11 + 6 bytes and 32 each, the header its name's and 32.
        let rest = 1024 - (10 + 11 + 11 + 6 + 4 * 32) - ("x".len() + 32);
        let (fits, large) = ("v".repeat(rest), "v".repeat(rest + 1));
        assert!(admitted("http://a/", &[("x", &fits)]).is_ok());
        assert!(matches!(admitted("http://a/", &[("x", &large)]), Err(Failure::LargeHead)));
    }

    #[test]
    fn names_with_underscores_are_dropped_passed_or_refused_as_told() {
        for (underscores, expected) in
            [(Underscores::Drop, Some(false)), (Underscores::Pass, Some(true)), (Underscores::Refuse, None)]
        {
            let request = Request::builder().uri("http://a/").header("x_a", "1").header("x-a", "2");
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            let admitted = admit(&mut head, Bounds { underscores, ..BOUNDS });
            assert_eq!(admitted.ok().map(|()| head.headers.contains_key("x_a")), expected);
            assert!(head.headers.contains_key("x-a"));
        }
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
