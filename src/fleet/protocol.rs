//! What a fleet's instances speak.

/// What a fleet's instances speak.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Protocol {
    /// HTTP/1.1, with TLS or without.
    #[default]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113 section 3.3), as servers of gRPC commonly do.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

impl Protocol {
    /// `http1`, `h2c` or `h2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
            Self::H2 => "h2",
        }
    }

    /// What is offered to instances in TLS handshakes (RFC 7301).
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::H2c | Self::H2 => "h2",
        }
    }
}
