//! Who may call the admin port at all, as far as a request alone can tell.
//!
//! Loopback is no protection from a browser on the same machine. A page from anywhere can make it send requests to 127.0.0.1,
//! and with a host name of its own that it re-points to 127.0.0.1 (DNS rebinding) it could even read the answers. So: the `host` header
//! must name this machine, a request that may change something must not come from a foreign page, and its body must be declared as
//! JSON, which a page cannot do without asking first (a CORS preflight, which nobody answers here).

use std::net::IpAddr;

use http::{HeaderMap, Method, Request, header};

use super::problem::Fault;

/// What a page can declare a body to be only after asking first. All but the first are those of Amazon's protocols.
const JSON_TYPES: [&str; 3] =
    ["application/json", "application/x-amz-json-1.1", "application/x-amz-json-1.0"];

/// What a page can declare a body to be as it likes. Clients of Amazon's Query protocol send it with an `authorization`, which a page cannot
/// without asking first.
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// Where the paths of invocations begin, whose bodies are what models take.
const INVOCATIONS: &str = "/endpoints/";

/// The rule by which callers are let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Callers name this machine's loopback interface, or the address that the port is bound to.
    Named {
        /// The bound address.
        bound: IpAddr,
    },
    /// Callers may use any name (`[admin] allow_remote`): names of proxies and containers cannot be known here.
    AnyName,
}

impl Access {
    /// Whether a request may go on.
    pub(super) fn check<B>(self, request: &Request<B>) -> Result<(), Fault> {
        let host = request
            .uri()
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| text(request.headers(), &header::HOST));
        self.check_host(host)?;
        if *request.method() == Method::GET || *request.method() == Method::HEAD {
            return Ok(());
        }
        check_origin(request.headers(), host)?;
        check_media_type(request.headers(), request.uri().path())
    }

    fn check_host(self, host: Option<&str>) -> Result<(), Fault> {
        match self {
            Self::AnyName => Ok(()),
            Self::Named { bound } => {
                let name = host.map(without_port);
                let fits = name.is_some_and(|name| match name.parse::<IpAddr>() {
                    Ok(address) => address.is_loopback() || address == bound,
                    Err(_) => name.eq_ignore_ascii_case("localhost"),
                });
                if fits {
                    Ok(())
                } else {
                    Err(Fault::ForeignHost { host: host.unwrap_or_default().to_owned() })
                }
            }
        }
    }
}

/// Browsers say where a request comes from; other clients send neither header.
fn check_origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), Fault> {
    let foreign = |origin: &str| Err(Fault::ForeignOrigin { origin: origin.to_owned() });
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("null");
        let own = origin.split_once("://").is_some_and(|(scheme, authority)| {
            matches!(scheme, "http" | "https")
                && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
        });
        if !own {
            return foreign(origin);
        }
    }
    match headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or_default()) {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => foreign("another site"),
    }
}

fn check_media_type(headers: &HeaderMap, path: &str) -> Result<(), Fault> {
    let is_empty = text(headers, &header::CONTENT_LENGTH).is_none_or(|length| length == "0")
        && !headers.contains_key(header::TRANSFER_ENCODING);
    if is_empty {
        return Ok(());
    }
    let given = text(headers, &header::CONTENT_TYPE);
    let essence = given.map(|given| given.split(';').next().unwrap_or_default().trim());
    let is_json = |essence: &str| JSON_TYPES.iter().any(|known| essence.eq_ignore_ascii_case(known));
    let is_form = |essence: &str| essence.eq_ignore_ascii_case(FORM_TYPE);
    // A page cannot send this header without asking first, whatever it declares the body to be.
    let is_signed = headers.contains_key(header::AUTHORIZATION);
    let is_invocation = path.starts_with(INVOCATIONS);
    if is_signed && (is_invocation || essence.is_some_and(is_form)) || essence.is_some_and(is_json) {
        Ok(())
    } else {
        Err(Fault::MediaType { given: given.map(str::to_owned) })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `[::1]:9090` is `::1`, `localhost:9090` is `localhost`.
fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const LOCAL: Access = Access::Named { bound: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5)) };

    fn status(access: Access, method: Method, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri("/v1/endpoints");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refused = access.check(&request.body(()).unwrap()).err()?;
        Some(refused.document().status)
    }

    #[test]
    fn a_host_that_is_not_this_machine_is_refused_also_for_reading() {
        for good in ["localhost:9090", "LOCALHOST", "127.0.0.1:9090", "127.8.8.8", "[::1]:9090", "10.0.0.5:1"]
        {
            assert_eq!(status(LOCAL, Method::GET, &[("host", good)]), None, "{good}");
        }
        for bad in
            ["evil.example:9090", "localhost.evil.example", "10.0.0.6:9090", "", "127.0.0.1.evil.example"]
        {
            assert_eq!(status(LOCAL, Method::GET, &[("host", bad)]), Some(403), "{bad}");
        }
        assert_eq!(status(LOCAL, Method::GET, &[]), Some(403));
        assert_eq!(status(Access::AnyName, Method::GET, &[("host", "snapback:9090")]), None);
    }

    #[test]
    fn a_page_from_elsewhere_changes_nothing() {
        let host = ("host", "localhost:9090");
        for bad in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("origin", "file://localhost:9090"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(status(LOCAL, Method::POST, &[host, bad]), Some(403), "{bad:?}");
            assert_eq!(status(Access::AnyName, Method::DELETE, &[host, bad]), Some(403), "{bad:?}");
        }
        for good in [("origin", "http://localhost:9090"), ("sec-fetch-site", "same-origin")] {
            assert_eq!(status(LOCAL, Method::POST, &[host, good]), None, "{good:?}");
        }
    }

    #[test]
    fn a_body_must_be_declared_as_json() {
        let host = ("host", "localhost");
        let length = ("content-length", "5");
        let unsupported = Some(StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16());
        assert_eq!(status(LOCAL, Method::POST, &[host]), None);
        assert_eq!(status(LOCAL, Method::POST, &[host, ("content-length", "0")]), None);
        assert_eq!(status(LOCAL, Method::POST, &[host, length]), unsupported);
        assert_eq!(status(LOCAL, Method::PUT, &[host, length, ("content-type", "text/plain")]), unsupported);
        assert_eq!(status(LOCAL, Method::POST, &[host, ("transfer-encoding", "chunked")]), unsupported);
        for json in ["application/json", "Application/JSON; charset=utf-8"] {
            assert_eq!(status(LOCAL, Method::POST, &[host, length, ("content-type", json)]), None);
        }
    }
}
