//! The strict gate: heads that two parsers could read differently go no further.
//!
//! The parser has refused what it could see in the lines: bare line feeds, folded lines, framing that is not plain. What they mean is
//! judged here: a proxy that passes on what it only half understood is what request smuggling is made of (RFC 9112 section 11.2).

use h2::ext::Protocol;
use http::{HeaderValue, Method, Uri, Version, header::HOST, request, uri::PathAndQuery};

pub(super) mod downgrade;

use super::error::Failure;
use crate::route::Underscores;

/// Longer request targets are refused. Four times what browsers and load balancers commonly take, a quarter of what a URI may have.
const TARGET_LIMIT_BYTES: usize = 16 * 1024;

/// What a head may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) limit_bytes: usize,
    pub(super) underscores: Underscores,
}

/// Lets a request's head in, and brings its target to origin form. The bounds are for HTTP/2: in HTTP/1 they were kept in reading.
pub(super) fn admit(head: &mut request::Parts, bounds: Bounds) -> Result<(), Failure> {
    if head.method == Method::CONNECT {
        // Extended CONNECT (RFC 8441) names a resource, and what it asks for is an upgrade of a GET in HTTP/1.1.
        if head.extensions.get::<Protocol>().is_none() {
            return Err(Failure::Connect);
        }
        head.method = Method::GET;
    }
    if head.version == Version::HTTP_2 {
        return downgrade::admit(head, bounds);
    }
    check_host(head)?;
    bring_to_origin_form(head)
}

/// Exactly one Host (RFC 9112 section 3.2); HTTP/1.0 may leave it out.
fn check_host(head: &request::Parts) -> Result<(), Failure> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_authority(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(Failure::BadRequest("Its Host is not a host with an optional port.")),
        (None, _) if head.version == Version::HTTP_10 => Ok(()),
        (None, _) => Err(Failure::BadRequest("It has no Host.")),
        (Some(_), Some(_)) => Err(Failure::BadRequest("It has more than one Host.")),
    }
}

/// Of an absolute target the authority wins over the Host (RFC 9112 section 3.2.2), and only path and query go on.
fn bring_to_origin_form(head: &mut request::Parts) -> Result<(), Failure> {
    check_target_length(head)?;
    if head.uri.authority().is_none() {
        return match head.uri.path().as_bytes() {
            [b'/', ..] => Ok(()),
            b"*" if head.method == Method::OPTIONS => Ok(()),
            _ => Err(Failure::BadRequest("Its target is neither a path nor an absolute URI.")),
        };
    }
    let uri = std::mem::take(&mut head.uri).into_parts();
    let (Some("http" | "https"), Some(authority)) =
        (uri.scheme.as_ref().map(|scheme| scheme.as_str()), uri.authority)
    else {
        return Err(Failure::BadRequest("Its target is neither a path nor an http or https URI."));
    };
    if !is_authority(authority.as_str().as_bytes()) {
        return Err(Failure::BadRequest("Its target's authority is not a host with an optional port."));
    }
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| Failure::BadRequest("Its target's authority is not a host with an optional port."))?;
    head.headers.insert(HOST, host);
    head.uri = Uri::from(uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(())
}

fn check_target_length(head: &request::Parts) -> Result<(), Failure> {
    let length = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if length > TARGET_LIMIT_BYTES { Err(Failure::LongTarget) } else { Ok(()) }
}

/// `host` or `host:port`: letters, digits, `-._~%`, or an address in brackets. Stricter than RFC 3986, whose sub-delims no
/// host name has, and which parsers split at.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte);
    let is_ipv6 = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let (host_length, host_fits) = match text {
        [b'[', rest @ ..] => {
            let length = rest.iter().take_while(|byte| is_ipv6(byte)).count();
            (length + 2, length >= 2 && rest.get(length) == Some(&b']'))
        }
        _ => {
            let length = text.iter().take_while(|byte| is_name(byte)).count();
            (length, length > 0)
        }
    };
    let port_fits = match text.get(host_length..) {
        Some([]) => true,
        Some([b':', port @ ..]) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        Some(_) | None => false,
    };
    host_fits && port_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_with_an_optional_port() {
        for good in ["a", "a.b-c:80", "127.0.0.1:9", "[::1]", "[::1]:8080", "a:", "ex%61mple"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a/b", "a@b", "a,b", "a:b", "a:123456", "[::1", "[]", "[::1]x", "a?b", "a^b",
            "\u{e9}",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
