//! What the proxy tells instances about the client: `x-forwarded-for`, `-proto`, `-host`, and `forwarded` (RFC 7239).
//!
//! A client could write into these headers what it likes, so what it says is replaced. A trusted proxy in front has said something
//! true about the hops before it; its lists are continued, and its scheme and host stand.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, HOST},
};

use super::headers::Lines;
use crate::net::{Peer, TrustedProxies};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// What a connection's client is to instances.
#[derive(Clone, Debug)]
pub(super) struct Downstream {
    /// Its address; `unknown` where it has none (RFC 7239 section 6.2).
    address: HeaderValue,
    scheme: Scheme,
    word: Word,
    door: Door,
}

/// Where a connection came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Door {
    /// By a socket that listens.
    Data,
    /// By the admin port, from within the process.
    Admin,
}

/// How the client speaks to the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// What a client's word about the hops before it counts for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Word {
    Nothing,
    Believed {
        /// Its address in the syntax of `forwarded`, which puts IPv6 in brackets and quotes.
        node: Box<str>,
    },
}

impl Downstream {
    pub(super) fn new(peer: Peer, scheme: Scheme, trusted: &TrustedProxies) -> Self {
        let address = match peer {
            Peer::Internet(address) => Some(address.ip().to_canonical()),
            Peer::Local => None,
        };
        let text = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let word = if trusted.include(&peer) {
            let node = match address {
                Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
                Some(IpAddr::V4(_)) | None => text.clone(),
            };
            Word::Believed { node: node.into() }
        } else {
            Word::Nothing
        };
        let address = HeaderValue::try_from(text).expect("an IP address is visible ASCII");
        Self { address, scheme, word, door: Door::Data }
    }

    /// The same of a connection that came in by this door.
    pub(super) fn through(self, door: Door) -> Self {
        Self { door, ..self }
    }

    /// Where it came in.
    pub(super) fn door(&self) -> Door {
        self.door
    }

    /// Its address, for people.
    pub(super) fn address(&self) -> &str {
        self.address.to_str().unwrap_or_default()
    }

    /// Adds the headers about the client to a request's head that has these.
    pub(super) fn write(&self, out: &mut impl Lines, headers: &HeaderMap) {
        if let Word::Believed { node } = &self.word {
            return self.write_continued(out, headers, node);
        }
        out.line(&FORWARDED_FOR, &self.address);
        out.line(&FORWARDED_PROTO, self.scheme.value());
        if let Some(host) = headers.get(HOST) {
            out.line(&FORWARDED_HOST, host);
        }
    }

    /// The same where a trusted proxy has spoken before.
    #[cold]
    fn write_continued(&self, out: &mut impl Lines, headers: &HeaderMap, node: &str) {
        // What is joined of values is a value.
        if let Some(Ok(line)) = self.continued(headers, node).map(HeaderValue::try_from) {
            out.line(&FORWARDED, &line);
        }
        let before = joined(headers, &FORWARDED_FOR);
        let list = before.map(|before| [&before, &b", "[..], self.address.as_bytes()].concat());
        match list.map(HeaderValue::try_from) {
            Some(Ok(list)) => out.line(&FORWARDED_FOR, &list),
            Some(Err(_)) | None => out.line(&FORWARDED_FOR, &self.address),
        }
        out.line(&FORWARDED_PROTO, headers.get(&FORWARDED_PROTO).unwrap_or(self.scheme.value()));
        if let Some(host) = headers.get(&FORWARDED_HOST).or_else(|| headers.get(HOST)) {
            out.line(&FORWARDED_HOST, host);
        }
    }

    /// The line of `forwarded` that goes on, if one was begun.
    fn continued(&self, headers: &HeaderMap, node: &str) -> Option<Vec<u8>> {
        let before = joined(headers, &FORWARDED)?;
        let mut line = [&before, &b", for="[..], node.as_bytes()].concat();
        if let Some(host) = headers.get(HOST) {
            // The gate has let no quote and no backslash into a host.
            line.extend_from_slice(b";host=\"");
            line.extend_from_slice(host.as_bytes());
            line.push(b'"');
        }
        line.extend_from_slice(b";proto=");
        line.extend_from_slice(self.scheme.as_str().as_bytes());
        Some(line)
    }
}

impl Scheme {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn value(self) -> &'static HeaderValue {
        match self {
            Self::Http => &HTTP,
            Self::Https => &HTTPS,
        }
    }
}

/// All lines of a header as one, which they stand for (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let lines: Vec<&[u8]> = lines.into_iter().filter(|line| !line.trim_ascii().is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::TrustedProxy;

    fn downstream(peer: &str, trusted: &[&str]) -> Downstream {
        let trusted = trusted.iter().map(|text| TrustedProxy::parse(text).unwrap()).collect();
        let peer = Peer::Internet(peer.parse().unwrap());
        Downstream::new(peer, Scheme::Https, &TrustedProxies::new(trusted))
    }

    /// The lines that are written.
    fn stated(downstream: &Downstream, lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut out = Vec::new();
        downstream.write(&mut out, &headers);
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    const SAID: &[(&str, &str)] = &[
        ("host", "inner:1"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "chat.example"),
        ("forwarded", "for=1.1.1.1"),
    ];

    #[test]
    fn a_trusted_proxys_lists_are_continued_and_its_scheme_and_host_stand() {
        let expected = [
            "forwarded: for=1.1.1.1, for=10.0.0.7;host=\"inner:1\";proto=https",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.7",
            "x-forwarded-proto: http",
            "x-forwarded-host: chat.example",
        ];
        assert_eq!(stated(&downstream("10.0.0.7:1", &["10.0.0.0/8"]), SAID), expected);
        let lines = stated(&downstream("[2001:db8::1]:1", &["2001:db8::/32"]), SAID);
        let expected = "forwarded: for=1.1.1.1, for=\"[2001:db8::1]\";host=\"inner:1\";proto=https";
        assert_eq!(lines[0], expected);
    }

    #[test]
    fn what_anybody_else_says_is_replaced() {
        let lines = stated(&downstream("[::ffff:192.0.2.7]:1", &["10.0.0.0/8"]), SAID);
        let expected =
            ["x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https", "x-forwarded-host: inner:1"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_trusted_proxy_that_says_nothing_is_the_first_hop() {
        let lines = stated(&downstream("10.0.0.7:1", &["10.0.0.0/8"]), &[("host", "a")]);
        assert_eq!(lines, ["x-forwarded-for: 10.0.0.7", "x-forwarded-proto: https", "x-forwarded-host: a"]);
    }

    #[test]
    fn a_local_process_has_no_address() {
        let local = Downstream::new(Peer::Local, Scheme::Http, &TrustedProxies::default());
        assert_eq!(stated(&local, &[]), ["x-forwarded-for: unknown", "x-forwarded-proto: http"]);
    }
}
