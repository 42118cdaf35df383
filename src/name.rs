//! Checked names: endpoints, versions, shifts.
//!
//! Names travel into metrics labels, file records and URLs, so they are restricted where they enter.

use std::{fmt, sync::Arc};

/// The stable name that operators use for an endpoint: 1 to 63 of `a-z A-Z 0-9 -`, not starting or ending with `-`
/// (the pattern of SageMaker's endpoint names, so that either API can address every endpoint).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointName(Arc<str>);

/// What a fleet serves, in the operator's words ("v2", a digest): 1 to 128 of `a-z A-Z 0-9 . _ - : / @ +`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(Arc<str>);

/// The name of a variant of an endpoint: 1 to 63 characters of the endpoint-name alphabet (the pattern of SageMaker's variant names).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantName(Arc<str>);

/// A shift's identity: 1 to 63 characters of the endpoint-name alphabet, unique in a journal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShiftId(Arc<str>);

/// The identity of a fleet whose instances a provider makes, unique in a journal: 1 to 63 characters of the endpoint-name alphabet.
/// Green's is its shift's, and stays when green has become the fleet in service.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FleetId(Arc<str>);

/// Why a text is not a name. Says what was given and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {what}: {rule}")]
pub struct NameError {
    given: String,
    what: &'static str,
    rule: &'static str,
}

const ENDPOINT_RULE: &str = "use 1 to 63 letters, digits or '-', with a letter or digit at both ends";
const VERSION_RULE: &str = "use 1 to 128 letters, digits or any of . _ - : / @ +";

impl EndpointName {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_dashed_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(NameError { given: shorten(text), what: "an endpoint name", rule: ENDPOINT_RULE })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Version {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:/@+".contains(&byte));
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError { given: shorten(text), what: "a version", rule: VERSION_RULE })
        }
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl VariantName {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_dashed_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(NameError { given: shorten(text), what: "a variant's name", rule: ENDPOINT_RULE })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ShiftId {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_dashed_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(NameError { given: shorten(text), what: "a shift id", rule: ENDPOINT_RULE })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FleetId {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_dashed_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(NameError { given: shorten(text), what: "a fleet id", rule: ENDPOINT_RULE })
        }
    }

    /// The fleet that a shift brings in.
    pub fn of_shift(shift: &ShiftId) -> Self {
        Self(Arc::clone(&shift.0))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_dashed_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The known name that a misspelt one is nearest to: one slip in up to five letters, one more for every three after that. `None` where
/// nothing is near, and of a text that is longer than names are.
pub fn nearest_name<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > 64 {
        return None;
    }
    let (slips, name) = known.into_iter().map(|name| (strsim::osa_distance(given, name), name)).min()?;
    (slips <= (name.len() / 3).max(1)).then_some(name)
}

/// Keeps an error message readable whatever was sent.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text_traits!(EndpointName, Version, VariantName, ShiftId, FleetId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_dash_at_an_end_or_a_foreign_character_is_refused() {
        for bad in ["", "-a", "a-", "a b", "ü", "a/b", &"a".repeat(64)] {
            assert!(EndpointName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(EndpointName::parse("chat-2").unwrap().as_str(), "chat-2");
    }

    #[test]
    fn the_error_says_what_would_be_right() {
        let error = Version::parse("v 2").unwrap_err().to_string();
        assert!(error.contains("\"v 2\"") && error.contains("letters, digits"), "{error}");
    }
}
