//! Which protocols the clients of an endpoint may switch their connection to.

use std::sync::Arc;

/// The protocols that an endpoint's clients may switch to, by their tokens (RFC 9110 section 7.8).
///
/// An upgrade takes the connection out of the proxy's sight, so each protocol is named. WebSocket is there from the start: servers
/// of models speak it, clients that do not ask for it are not touched by it, and its handshake proves that the server understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upgrades(Arc<[Box<str>]>);

/// Why a text is no protocol that clients may switch to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpgradeError {
    /// It is no token.
    #[error("it is not a protocol's token: write a name such as \"websocket\"")]
    NoToken,
    /// HTTP, in another version or under TLS.
    #[error("requests inside of it would pass unseen; clients can speak HTTP/2 and TLS without an upgrade")]
    Http,
}

/// Longer than any name in IANA's registry.
const TOKEN_BYTES: usize = 64;

impl Upgrades {
    /// Those of these tokens.
    ///
    /// # Errors
    ///
    /// The first token that is none, or that must not be one.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Result<Self, UpgradeError> {
        tokens.into_iter().map(Self::check).collect::<Result<_, _>>().map(Self)
    }

    /// A token as it is compared, in lower case.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn check(token: &str) -> Result<Box<str>, UpgradeError> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
        if token.is_empty() || token.len() > TOKEN_BYTES || !token.bytes().all(is_part) {
            return Err(UpgradeError::NoToken);
        }
        let token = token.to_ascii_lowercase();
        let name = token.split('/').next().unwrap_or_default();
        if matches!(name, "h2c" | "h2" | "http" | "tls") {
            return Err(UpgradeError::Http);
        }
        Ok(token.into())
    }

    /// The protocol of this name, if clients may switch to it.
    pub fn find(&self, token: &str) -> Option<&str> {
        self.0.iter().map(|known| &**known).find(|known| known.eq_ignore_ascii_case(token))
    }

    /// Every token.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|token| &**token)
    }
}

impl Default for Upgrades {
    fn default() -> Self {
        Self(Arc::new(["websocket".into()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_found_without_regard_to_case() {
        let upgrades = Upgrades::new(["WebSocket", "tok/1.3"]).unwrap();
        assert_eq!(upgrades.iter().collect::<Vec<_>>(), ["websocket", "tok/1.3"]);
        assert_eq!(upgrades.find("WEBSOCKET"), Some("websocket"));
        assert_eq!((upgrades.find("tok"), upgrades.find("h2c")), (None, None));
        assert_eq!(Upgrades::default().find("websocket"), Some("websocket"));
    }

    #[test]
    fn what_would_hide_requests_is_refused() {
        for token in ["h2c", "H2C", "HTTP/2.0", "TLS/1.2"] {
            assert_eq!(Upgrades::check(token), Err(UpgradeError::Http), "{token}");
        }
        for token in ["", "web socket", "a,b", "caf\u{e9}", &"x".repeat(65)] {
            assert_eq!(Upgrades::check(token), Err(UpgradeError::NoToken), "{token}");
        }
    }
}
