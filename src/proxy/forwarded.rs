//! What the proxy tells instances about the client: `x-forwarded-for`, `-proto`, `-host`, and `forwarded` (RFC 7239).
//!
//! A client could write into these headers what it likes, so what it says is replaced. A trusted proxy in front has said something
//! true about the hops before it; its lists are continued, and its scheme and host stand.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, HOST},
};

use crate::net::{Peer, TrustedProxies};

// Names as values, since a text would be checked, hashed and copied for each request.
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a connection's client is to instances.
#[derive(Debug)]
pub(super) struct Downstream {
    /// Its address; `unknown` where it has none (RFC 7239 section 6.2).
    address: HeaderValue,
    scheme: Scheme,
    word: Word,
}

/// How the client speaks to the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// What a client's word about the hops before it counts for.
#[derive(PartialEq, Eq, Debug)]
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
        Self { address: HeaderValue::try_from(text).expect("an IP address is visible ASCII"), scheme, word }
    }

    /// The line of `forwarded` that goes on, if a trusted proxy began one. To be asked before hop-by-hop headers go, and the host with it.
    pub(super) fn continued(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let Word::Believed { node } = &self.word else { return None };
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
        HeaderValue::from_bytes(&line).ok()
    }

    /// Writes the headers about the client.
    pub(super) fn state(&self, headers: &mut HeaderMap) {
        let address = match self.word {
            Word::Nothing => self.address.clone(),
            Word::Believed { .. } => self.appended(headers),
        };
        headers.insert(&FORWARDED_FOR, address);
        let stands =
            |headers: &HeaderMap, name: &HeaderName| self.word != Word::Nothing && headers.contains_key(name);
        if !stands(headers, &FORWARDED_PROTO) {
            headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(self.scheme.as_str()));
        }
        if stands(headers, &FORWARDED_HOST) {
            return;
        }
        match headers.get(HOST).cloned() {
            Some(host) => headers.insert(&FORWARDED_HOST, host),
            None => headers.remove(&FORWARDED_HOST),
        };
    }

    fn appended(&self, headers: &HeaderMap) -> HeaderValue {
        let before = joined(headers, &FORWARDED_FOR);
        let line = before.map(|before| [&before, &b", "[..], self.address.as_bytes()].concat());
        line.and_then(|line| HeaderValue::from_bytes(&line).ok()).unwrap_or_else(|| self.address.clone())
    }
}

impl Scheme {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
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

    fn stated(
        downstream: &Downstream,
        lines: &[(&'static str, &'static str)],
    ) -> (HeaderMap, Option<HeaderValue>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let line = downstream.continued(&headers);
        downstream.state(&mut headers);
        (headers, line)
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
        let (headers, line) = stated(&downstream("10.0.0.7:1", &["10.0.0.0/8"]), SAID);
        let values = |name: &HeaderName| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(values(&FORWARDED_FOR), ["1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.7"]);
        assert_eq!(
            (values(&FORWARDED_PROTO), values(&FORWARDED_HOST)),
            (vec![&HeaderValue::from_static("http")], vec![&HeaderValue::from_static("chat.example")])
        );
        assert_eq!(line.unwrap(), "for=1.1.1.1, for=10.0.0.7;host=\"inner:1\";proto=https");
        let (_, line) = stated(&downstream("[2001:db8::1]:1", &["2001:db8::/32"]), SAID);
        assert_eq!(line.unwrap(), "for=1.1.1.1, for=\"[2001:db8::1]\";host=\"inner:1\";proto=https");
    }

    #[test]
    fn what_anybody_else_says_is_replaced() {
        let (headers, line) = stated(&downstream("[::ffff:192.0.2.7]:1", &["10.0.0.0/8"]), SAID);
        assert_eq!(headers.get_all(&FORWARDED_FOR).iter().collect::<Vec<_>>(), ["192.0.2.7"]);
        assert_eq!(
            (&headers[&FORWARDED_PROTO], &headers[&FORWARDED_HOST]),
            (&"https".parse().unwrap(), &"inner:1".parse().unwrap())
        );
        assert_eq!(line, None);
    }

    #[test]
    fn a_trusted_proxy_that_says_nothing_is_the_first_hop() {
        let (headers, line) = stated(&downstream("10.0.0.7:1", &["10.0.0.0/8"]), &[("host", "a")]);
        assert_eq!(
            (&headers[&FORWARDED_FOR], &headers[&FORWARDED_PROTO], line),
            (&"10.0.0.7".parse().unwrap(), &"https".parse().unwrap(), None)
        );
    }

    #[test]
    fn a_local_process_has_no_address() {
        let local = Downstream::new(Peer::Local, Scheme::Http, &TrustedProxies::default());
        assert_eq!(stated(&local, &[]).0[&FORWARDED_FOR], "unknown");
    }
}
