//! Which endpoint a request belongs to.

use std::cmp::Ordering;

use http::{HeaderMap, HeaderName, HeaderValue};

/// What a request is matched by.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey<'a> {
    /// The authority without its port, as the client wrote it; matched without regard to case.
    pub host: Option<&'a str>,
    /// The path as sent, without the query.
    pub path: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// Which hosts a rule takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostPattern {
    /// Exactly this one, in lower case.
    Exact(String),
    /// Any one that ends in this suffix, which begins with a dot: `*.example.org` is `.example.org`.
    Suffix(String),
}

/// Which requests belong to an endpoint: those that fit every part that is given; with no part given, all.
///
/// Precedence, first difference decides: exact host, suffix host (longer first), no host; longer path prefix; with a header, without.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MatchRule {
    /// The hosts.
    pub host: Option<HostPattern>,
    /// The path begins with this, at a segment's boundary: `/v1` and `/v1/` take `/v1/chat`, not `/v10`.
    pub path_prefix: Option<String>,
    /// The request has this header with this value.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl MatchRule {
    /// Whether a request belongs to this rule's endpoint.
    pub fn fits(&self, _key: &RequestKey<'_>) -> bool {
        todo!()
    }

    /// `Less` when this rule is asked before the other.
    pub fn precedence(&self, _other: &Self) -> Ordering {
        todo!()
    }

    /// Whether two rules of equal precedence could take the same request, so that a config that has both is refused.
    pub fn is_ambiguous_with(&self, _other: &Self) -> bool {
        todo!()
    }
}
