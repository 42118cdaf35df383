//! Which endpoint a request belongs to.

use std::cmp::{Ordering, Reverse};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ModelKey, path::after_prefix};

/// What a request is matched by.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey<'a> {
    /// The authority without its port, as the client wrote it; matched without regard to case.
    pub host: Option<&'a str>,
    /// The path without the query, normalised where the table's rules look at paths ([`super::normalise`]).
    pub path: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The model, as far as it is known.
    pub model: ModelKey<'a>,
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
/// Precedence, first difference decides: exact host, suffix host (longer first), no host; longer path prefix; with a header, without;
/// with models, without. So a rule that needs the body is asked after those that are more specific without it, and a rule without
/// models takes what no model's rule of the same kind does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MatchRule {
    /// The hosts.
    pub host: Option<HostPattern>,
    /// The path begins with this, at a segment's boundary: `/v1` and `/v1/` take `/v1/chat` and `/v1`, not `/v10`. Paths are compared
    /// in their normalised form, so that no other way of writing a path leads past a rule; the model server gets the bytes as sent.
    pub path_prefix: Option<String>,
    /// The request has this header with this value. Of a header that is sent several times the first value counts, so that no
    /// request fits two values of one header.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// The request names one of these models; empty: whatever it names. Compared byte for byte.
    pub models: Vec<String>,
}

/// Whether a rule takes a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    Yes,
    No,
    /// It depends on the model, which is not known yet.
    DependsOnModel,
}

impl MatchRule {
    /// Whether a request belongs to this rule's endpoint.
    pub(super) fn fits(&self, key: &RequestKey<'_>) -> Fit {
        if !self.fits_head(key) {
            return Fit::No;
        }
        match key.model {
            _ if self.models.is_empty() => Fit::Yes,
            ModelKey::Unread => Fit::DependsOnModel,
            ModelKey::Named(model) if self.models.iter().any(|own| own == model) => Fit::Yes,
            ModelKey::Named(_) | ModelKey::Absent => Fit::No,
        }
    }

    fn fits_head(&self, key: &RequestKey<'_>) -> bool {
        self.host.as_ref().is_none_or(|pattern| key.host.is_some_and(|host| pattern.fits(host)))
            && self.fits_path(key.path)
            && self.header.as_ref().is_none_or(|(name, value)| key.headers.get(name) == Some(value))
    }

    /// `Less` when this rule is asked before the other.
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }

    /// Whether two rules of equal precedence could take the same request, so that a config that has both is refused.
    pub fn is_ambiguous_with(&self, other: &Self) -> bool {
        let hosts_meet = match (&self.host, &other.host) {
            (Some(left), Some(right)) => left.text().eq_ignore_ascii_case(right.text()),
            (Some(_), None) | (None, Some(_)) | (None, None) => true,
        };
        let headers_meet = match (&self.header, &other.header) {
            (Some((left, one)), Some((right, two))) => left != right || one == two,
            (Some(_), None) | (None, Some(_)) | (None, None) => true,
        };
        let models_meet =
            self.models.is_empty() || self.models.iter().any(|model| other.models.contains(model));
        // Of equally long prefixes, hosts or suffixes, two different ones have no request in common.
        self.precedence(other).is_eq()
            && hosts_meet
            && headers_meet
            && models_meet
            && self.prefix() == other.prefix()
    }

    fn fits_path(&self, path: &str) -> bool {
        after_prefix(path, self.prefix()).is_some()
    }

    /// Lower comes first.
    fn rank(&self) -> impl Ord {
        let host = match &self.host {
            Some(HostPattern::Exact(_)) => (0, Reverse(0)),
            Some(HostPattern::Suffix(suffix)) => (1, Reverse(suffix.len())),
            None => (2, Reverse(0)),
        };
        (host, Reverse(self.prefix().len()), self.header.is_none(), self.models.is_empty())
    }

    /// The path prefix without its last slash, so that `/v1` and `/v1/` are the same rule, and `/` the same as none.
    fn prefix(&self) -> &str {
        let prefix = self.path_prefix.as_deref().unwrap_or_default();
        prefix.strip_suffix('/').unwrap_or(prefix)
    }
}

impl HostPattern {
    fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Suffix(text) => text,
        }
    }

    /// A suffix takes hosts with at least one more label before it.
    fn fits(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Suffix(suffix) => {
                let (host, suffix) = (host.as_bytes(), suffix.as_bytes());
                let start = host.len().checked_sub(suffix.len());
                start.is_some_and(|start| start > 0 && host[start..].eq_ignore_ascii_case(suffix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, path_prefix: &str, header: &str) -> MatchRule {
        let host = match host.strip_prefix('*') {
            Some(suffix) => Some(HostPattern::Suffix(suffix.to_owned())),
            None => (!host.is_empty()).then(|| HostPattern::Exact(host.to_owned())),
        };
        let header = header.split_once('=').map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        MatchRule {
            host,
            path_prefix: (!path_prefix.is_empty()).then(|| path_prefix.to_owned()),
            header,
            models: Vec::new(),
        }
    }

    fn fits(rule: &MatchRule, host: Option<&str>, path: &str, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        rule.fits(&RequestKey { host, path, headers: &map, model: ModelKey::Unread }) == Fit::Yes
    }

    #[test]
    fn a_rule_without_parts_takes_everything() {
        for path in ["/", "/a/b", "*", ""] {
            assert!(fits(&MatchRule::default(), None, path, &[]), "{path}");
            assert!(fits(&rule("", "/", ""), Some("a"), path, &[]), "{path}");
        }
    }

    #[test]
    fn hosts_are_compared_without_regard_to_case() {
        let exact = rule("api.example.org", "", "");
        assert!(fits(&exact, Some("API.Example.org"), "/", &[]));
        for other in [None, Some("example.org"), Some("xapi.example.org"), Some("")] {
            assert!(!fits(&exact, other, "/", &[]), "{other:?}");
        }
        let suffix = rule("*.example.org", "", "");
        for host in ["a.example.org", "A.B.EXAMPLE.ORG", "\u{e9}.example.org"] {
            assert!(fits(&suffix, Some(host), "/", &[]), "{host}");
        }
        for host in ["example.org", ".example.org", "a.example.com", "xexample.org", "\u{e9}", ""] {
            assert!(!fits(&suffix, Some(host), "/", &[]), "{host}");
        }
    }

    #[test]
    fn a_path_prefix_ends_at_a_segments_boundary() {
        for prefix in ["/v1", "/v1/"] {
            for path in ["/v1", "/v1/", "/v1/chat"] {
                assert!(fits(&rule("", prefix, ""), None, path, &[]), "{prefix} {path}");
            }
            for path in ["/v10", "/v", "/", "/V1/chat", "/x/v1", ""] {
                assert!(!fits(&rule("", prefix, ""), None, path, &[]), "{prefix} {path}");
            }
        }
    }

    #[test]
    fn the_first_value_of_a_header_decides() {
        let rule = rule("", "", "x-model=a");
        assert!(fits(&rule, None, "/", &[("X-Model", "a")]));
        assert!(fits(&rule, None, "/", &[("x-model", "a"), ("x-model", "b")]));
        assert!(!fits(&rule, None, "/", &[("x-model", "b"), ("x-model", "a")]));
        assert!(!fits(&rule, None, "/", &[("x-model", "A")]));
        assert!(!fits(&rule, None, "/", &[]));
    }

    #[test]
    fn host_comes_before_path_and_path_before_header() {
        let in_order = [
            rule("a.b.org", "/v1/chat", "x=1"),
            rule("a.b.org", "/v1/chat", ""),
            rule("a.b.org", "", "x=1"),
            rule("*.b.org", "/v1", ""),
            rule("*.org", "/v1/chat", ""),
            rule("", "/v1/chat", ""),
            rule("", "/v1", "x=1"),
            rule("", "/v1/", ""),
            rule("", "", "x=1"),
            rule("", "", ""),
        ];
        for (place, rule) in in_order.iter().enumerate() {
            for (other_place, other) in in_order.iter().enumerate() {
                assert_eq!(rule.precedence(other), place.cmp(&other_place), "{rule:?} {other:?}");
            }
        }
    }

    fn of_models(models: &[&str], path_prefix: &str) -> MatchRule {
        MatchRule {
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            ..rule("", path_prefix, "")
        }
    }

    #[test]
    fn a_rule_with_models_depends_on_the_model_only_where_the_rest_fits() {
        let rule = of_models(&["a", "b"], "/v1");
        let headers = HeaderMap::new();
        let fit = |path, model| rule.fits(&RequestKey { host: None, path, headers: &headers, model });
        assert_eq!(fit("/v1/x", ModelKey::Unread), Fit::DependsOnModel);
        assert_eq!(fit("/v2/x", ModelKey::Unread), Fit::No);
        assert_eq!(fit("/v1/x", ModelKey::Named("b")), Fit::Yes);
        assert_eq!(fit("/v1/x", ModelKey::Named("B")), Fit::No);
        assert_eq!(fit("/v1/x", ModelKey::Absent), Fit::No);
    }

    #[test]
    fn models_come_last_and_are_ambiguous_when_they_share_one() {
        let (a, b, both, none) =
            (of_models(&["a"], ""), of_models(&["b"], ""), of_models(&["a", "b"], ""), of_models(&[], ""));
        assert_eq!(a.precedence(&none), Ordering::Less);
        assert_eq!(of_models(&[], "/v1").precedence(&a), Ordering::Less);
        assert!(a.is_ambiguous_with(&both) && both.is_ambiguous_with(&b));
        assert!(
            !a.is_ambiguous_with(&b)
                && !a.is_ambiguous_with(&none)
                && !a.is_ambiguous_with(&of_models(&["a"], "/v1"))
        );
    }

    #[test]
    fn rules_are_ambiguous_when_only_chance_would_choose_between_them() {
        let pairs = [
            (rule("", "", ""), rule("", "/", "")),
            (rule("", "/v1", ""), rule("", "/v1/", "")),
            (rule("a.org", "/v1", ""), rule("a.org", "/v1", "")),
            (rule("*.org", "", ""), rule("*.org", "", "")),
            (rule("", "", "x=1"), rule("", "", "x=1")),
            (rule("", "", "x=1"), rule("", "", "y=1")),
        ];
        for (left, right) in pairs {
            assert!(left.is_ambiguous_with(&right) && right.is_ambiguous_with(&left), "{left:?} {right:?}");
        }
        let pairs = [
            (rule("", "/v1", ""), rule("", "/v2", "")),
            (rule("", "/v1", ""), rule("", "", "")),
            (rule("a.org", "", ""), rule("b.org", "", "")),
            (rule("*.a.org", "", ""), rule("*.b.org", "", "")),
            (rule("a.org", "", ""), rule("*.org", "", "")),
            (rule("a.org", "", ""), rule("", "", "")),
            (rule("", "", "x=1"), rule("", "", "x=2")),
            (rule("", "", "x=1"), rule("", "", "")),
        ];
        for (left, right) in pairs {
            assert!(!left.is_ambiguous_with(&right) && !right.is_ambiguous_with(&left), "{left:?} {right:?}");
        }
    }
}
