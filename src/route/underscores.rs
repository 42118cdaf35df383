//! What becomes of header names with an underscore.

/// What becomes of request headers whose names have an underscore.
///
/// Servers that hand headers on as CGI does (WSGI, PHP) cannot tell `x_user` from `x-user`: what one guard in front allows or removes by
/// one name gets through by the other. nginx drops such headers, and Envoy's guide for proxies at the edge refuses their requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Underscores {
    /// They are left out.
    #[default]
    Drop,
    /// They pass.
    Pass,
    /// A request that has one gets 400.
    Refuse,
}

impl Underscores {
    /// As the file has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Refuse => "refuse",
        }
    }
}
