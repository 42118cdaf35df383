//! The strict gate: heads that two parsers could read differently go no further.
//!
//! hyper has parsed the head before it comes here, and refuses bare line feeds, folded lines, and differing lengths. What it
//! lets through, or repairs, is refused here: a proxy that passes on what it only half understood is what request smuggling
//! is made of (RFC 9112 section 11.2).

use http::{
    HeaderMap, HeaderValue, Method, Uri, Version,
    header::{HOST, TRANSFER_ENCODING},
    request,
    uri::PathAndQuery,
};

use hyper::ext::Protocol;

pub(super) mod downgrade;

use super::{client::Client, error::Failure};

/// Longer request targets are refused. Four times what browsers and load balancers commonly take, half of what hyper does.
const TARGET_LIMIT_BYTES: usize = 16 * 1024;

/// Lets a request's head in, brings its target to origin form, and says how its body is framed.
pub(super) fn admit(head: &mut request::Parts, client: &Client) -> Result<(), Failure> {
    if head.method == Method::CONNECT {
        // Extended CONNECT (RFC 8441) names a resource, and what it asks for is an upgrade of a GET in HTTP/1.1.
        if head.extensions.get::<Protocol>().is_none() {
            return Err(Failure::Connect);
        }
        head.method = Method::GET;
    }
    if head.version == Version::HTTP_2 {
        return downgrade::admit(head);
    }
    check_host(head)?;
    if head.headers.contains_key(TRANSFER_ENCODING) {
        check_coding(&head.headers)?;
        client.with_raw_head(|raw| check_no_length(raw, head))?;
    }
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

/// Exactly one Transfer-Encoding that is exactly `chunked`.
fn check_coding(headers: &HeaderMap) -> Result<(), Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if is_chunked(coding) => Ok(()),
        (Some(coding), None) if is_token(coding.as_bytes()) => Err(Failure::UnknownCoding),
        _ => Err(Failure::BadRequest("Its Transfer-Encoding is not exactly chunked.")),
    }
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().eq_ignore_ascii_case(b"chunked")
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
}

/// Beside a Transfer-Encoding there must be no Content-Length. hyper leaves it out, so the head as it came must show it, and be
/// that of this request: what came along with an earlier request was not kept.
///
/// It is this head, from its first byte, if it begins with the method and has as many lines as hyper found headers. Were its
/// beginning missing, then its first line here, which looks like a request's, would be the rest of a header's, and hyper would
/// have found a header more. (An empty line in front could be the end of a head that is missing, so it is not passed over.)
fn check_no_length(raw: &[u8], head: &request::Parts) -> Result<(), Failure> {
    let lines = raw.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.take_while(|line| !line.is_empty());
    let method = head.method.as_str().as_bytes();
    let begins = |line: &[u8]| line.strip_prefix(method).is_some_and(|rest| rest.starts_with(b" "));
    let has_begun = lines.next().is_some_and(begins);
    let mut count = 0;
    for line in lines {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            return Err(Failure::BadRequest("It has both a Content-Length and a Transfer-Encoding."));
        }
        count += 1;
    }
    if has_begun && count == head.headers.len() {
        Ok(())
    } else {
        Err(Failure::BadRequest(
            "It has a Transfer-Encoding and came before the request ahead of it was answered.",
        ))
    }
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

    /// What the check says of a head that hyper read as a POST with this many headers.
    fn defect(raw: &str, headers: usize) -> Option<&'static str> {
        let mut request = http::Request::post("/").body(()).unwrap().into_parts().0;
        for _ in 0..headers {
            request.headers.append(HOST, HeaderValue::from_static("a"));
        }
        match check_no_length(raw.as_bytes(), &request) {
            Err(Failure::BadRequest(defect)) => Some(defect),
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_dropped_content_length_is_found_in_the_head_and_only_there() {
        for declared in [
            "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 4\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\ntransfer-encoding: chunked\nhost: a\ncontent-LENGTH:4\n\n",
        ] {
            assert!(defect(declared, 2).unwrap().contains("both"), "{declared}");
        }
        for free in [
            "POST / HTTP/1.1\r\nhost: a\r\n\r\ncontent-length: 4\r\n",
            "POST /content-length: HTTP/1.1\r\nx: content-length\r\n\r\n",
        ] {
            assert_eq!(defect(free, 1), None, "{free}");
        }
    }

    #[test]
    fn a_head_that_is_not_all_there_is_not_believed() {
        for part in [
            "",
            "host: a\r\n\r\n",
            "T / HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n",
            // The rest of a header whose name came earlier.
            "POST / HTTP/1.1\r\nhost: a\r\n\r\n",
            // The end of a head that came earlier, and a body that looks like a head.
            "\r\nPOST / HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n",
            "\nPOST / HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n",
        ] {
            assert!(defect(part, 2).is_some(), "{part}");
        }
    }
}
