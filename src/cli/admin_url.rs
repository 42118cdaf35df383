//! Where an admin port is.

use std::fmt;

/// The address of an admin port: `http://HOST[:PORT]`, `https://HOST[:PORT]`, or just `HOST:PORT`, which is http. The port is 80,
/// or 443 with TLS, when the text has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminUrl {
    scheme: AdminScheme,
    host: String,
    port: u16,
}

/// How an admin port is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminScheme {
    /// `http`
    Plain,
    /// `https`
    Tls,
}

/// Why a text is not the address of an admin port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not the address of an admin port: write http://HOST:PORT or https://HOST:PORT")]
pub struct AdminUrlError(String);

impl AdminUrl {
    /// Checks a text. A path other than `/` is refused: the API has none of its own to put in front.
    pub fn parse(text: &str) -> Result<Self, AdminUrlError> {
        let error = || AdminUrlError(text.chars().take(80).collect());
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri = with_scheme.parse().map_err(|_| error())?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => (AdminScheme::Plain, 80),
            Some("https") => (AdminScheme::Tls, 443),
            Some(_) | None => return Err(error()),
        };
        let has_no_path = matches!(uri.path(), "" | "/");
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        match authority {
            Some(authority) if has_no_path && uri.query().is_none() && !authority.host().is_empty() => {
                let digits = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
                let port = match digits.strip_prefix(':') {
                    Some(digits) => digits.parse().map_err(|_| error())?,
                    None => default_port,
                };
                Ok(Self { scheme, host: authority.host().to_owned(), port })
            }
            _ => Err(error()),
        }
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> AdminScheme {
        self.scheme
    }

    /// Host and port in the form of a `Host` header: an IPv6 address keeps its brackets.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What a resolver takes: an IPv6 address without its brackets.
    pub fn host_and_port(&self) -> (&str, u16) {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        (bare.unwrap_or(&self.host), self.port)
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            AdminScheme::Plain => "http",
            AdminScheme::Tls => "https",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_or_without_its_scheme_and_written_in_full() {
        for (text, written, host, port) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090", "127.0.0.1", 9090),
            ("http://proxy.internal/", "http://proxy.internal:80", "proxy.internal", 80),
            ("localhost:9", "http://localhost:9", "localhost", 9),
            ("https://proxy.internal", "https://proxy.internal:443", "proxy.internal", 443),
            ("http://[::1]:9090", "http://[::1]:9090", "::1", 9090),
        ] {
            let url = AdminUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.host_and_port()), (written, (host, port)));
        }
    }

    #[test]
    fn another_scheme_a_path_credentials_or_a_bad_port_is_refused() {
        for bad in [
            "",
            "http://",
            "https://",
            "ftp://a",
            "http://a/b",
            "http://u:p@a",
            "http://a:99999",
            "http://a:",
            "a b",
            "http://a?b",
        ] {
            assert!(AdminUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
