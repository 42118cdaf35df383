//! Paths as rules see them, and as they are rewritten.
//!
//! A rule must not be walked around by writing its path in another way, so paths are compared in a normalised form: dot segments
//! resolved, runs of slashes merged, and escapes of letters, digits and `-._~` decoded (RFC 3986 section 6.2.2). `%2F` stays what it
//! is, a part of a segment. The model server still gets the bytes that the client sent.

use std::borrow::Cow;

/// A path that no two readers agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// `%00`
    #[error("the path has an encoded zero byte")]
    Zero,
    /// `\` or `%5C`
    #[error("the path has a backslash")]
    Backslash,
    /// `..` above the root
    #[error("the path leads above the root")]
    AboveRoot,
}

/// The path as rules compare it.
///
/// # Errors
/// When readers of the path could disagree on where it leads.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, PathError> {
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let mut whole = String::with_capacity(decoded.len());
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | "" if !is_last => continue,
            "." | "" => whole.push('/'),
            ".." => {
                let parent = whole.rfind('/').ok_or(PathError::AboveRoot)?;
                whole.truncate(parent);
                if is_last {
                    whole.push('/');
                }
            }
            segment => {
                whole.push('/');
                whole.push_str(segment);
            }
        }
    }
    Ok(Cow::Owned(whole))
}

/// Whether the path is its own normalised form; a false no only costs the long way.
fn is_plain(path: &[u8]) -> bool {
    let is_pair = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
    path.first() == Some(&b'/')
        && !path.iter().any(|byte| matches!(byte, b'%' | b'\\'))
        && !path.windows(2).any(is_pair)
        || path == b"*"
}

/// Decodes escapes that mean the same as what they stand for.
fn decode(path: &str) -> Result<String, PathError> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        let (plain, escape) = rest.split_at(at);
        decoded.push_str(plain);
        if escape.starts_with('\\') {
            return Err(PathError::Backslash);
        }
        let digits = escape.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let length = match code {
            Some(0) => return Err(PathError::Zero),
            Some(b'\\') => return Err(PathError::Backslash),
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
                3
            }
            Some(_) | None => {
                decoded.push('%');
                1
            }
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    decoded.push_str(rest);
    Ok(decoded)
}

/// Whether a path begins with a prefix, which has no slash at its end, at a segment's boundary; and what is left of it.
pub(super) fn after_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    (prefix.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// What a model server gets instead of the first part of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewrite {
    /// The part that is taken away; without a slash at its end.
    strip: String,
    /// What stands there instead; without a slash at its end.
    prefix: String,
}

impl Rewrite {
    /// Paths that begin with `strip`, at a segment's boundary, get `prefix` in its place. A slash at the end of either means nothing.
    pub fn new(strip: &str, prefix: &str) -> Self {
        let bare = |text: &str| text.trim_end_matches('/').to_owned();
        Self { strip: bare(strip), prefix: bare(prefix) }
    }

    /// The part that is taken away.
    pub fn strip(&self) -> &str {
        &self.strip
    }

    /// What stands there instead.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The new target for a path and its query; `None` when the path stays as it is.
    ///
    /// A path that has the prefix only in its normalised form goes on in that form.
    pub fn apply(&self, path: &str, query: Option<&str>) -> Option<String> {
        let normal;
        let rest = match after_prefix(path, &self.strip).filter(|_| is_plain(path.as_bytes())) {
            Some(rest) => rest,
            None => {
                normal = normalise(path).ok()?;
                after_prefix(&normal, &self.strip)?
            }
        };
        let query_bytes = query.map_or(0, |query| query.len() + 1);
        let mut target = String::with_capacity(self.prefix.len() + rest.len() + query_bytes + 1);
        target.push_str(&self.prefix);
        target.push_str(rest);
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_compared_in_the_form_that_every_reader_agrees_on() {
        let cases = [
            ("/v1/chat", "/v1/chat"),
            ("/", "/"),
            ("//v1///chat", "/v1/chat"),
            ("/./v1/./chat/.", "/v1/chat/"),
            ("/x/../v1/chat", "/v1/chat"),
            ("/v1/x/..", "/v1/"),
            ("/%2e%2E/v1", ""),
            ("/v1/%2e%2e/admin", "/admin"),
            ("/%76%31/chat", "/v1/chat"),
            ("/v1%2fchat", "/v1%2fchat"),
            ("/v1/a%20b", "/v1/a%20b"),
            ("/v1/%zz/%4", "/v1/%zz/%4"),
            ("/v1/.hidden", "/v1/.hidden"),
            ("/v1/..x", "/v1/..x"),
            ("/v1//", "/v1/"),
            ("*", "*"),
            ("/x/..", "/"),
        ];
        for (path, normal) in cases {
            let wanted =
                if normal.is_empty() { Err(PathError::AboveRoot) } else { Ok(Cow::Borrowed(normal)) };
            assert_eq!(normalise(path), wanted, "{path}");
        }
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        assert_eq!(normalise("/v1/%00"), Err(PathError::Zero));
        assert_eq!(normalise("/v1\\chat"), Err(PathError::Backslash));
        assert_eq!(normalise("/v1/%5c"), Err(PathError::Backslash));
        for path in ["/..", "/a/../..", "/../v1", "/%2e./v1", "//../v1"] {
            assert_eq!(normalise(path), Err(PathError::AboveRoot), "{path}");
        }
    }

    #[test]
    fn the_matched_prefix_is_replaced_and_the_rest_goes_on_as_sent() {
        let cases = [
            ("/chat", "", "/chat/v1/x", "/v1/x"),
            ("/chat/", "/", "/chat", "/"),
            ("/chat", "/v1", "/chat/a%2Fb", "/v1/a%2Fb"),
            ("/chat", "/v1/", "/chat", "/v1"),
            ("", "/v1", "/a", "/v1/a"),
            ("/chat", "/v1", "/x/../chat//a", "/v1/a"),
            ("/chat", "", "/chat/", "/"),
            ("/chat", "", "//chat/x", "/x"),
        ];
        for (strip, prefix, path, wanted) in cases {
            assert_eq!(
                Rewrite::new(strip, prefix).apply(path, None).as_deref(),
                Some(wanted),
                "{strip} {prefix} {path}"
            );
        }
        assert_eq!(
            Rewrite::new("/chat", "").apply("/chat/a", Some("b=/chat")).as_deref(),
            Some("/a?b=/chat")
        );
        assert_eq!(Rewrite::new("/chat", "").apply("/chatter", None), None);
    }

    proptest! {
        #[test]
        fn a_normalised_path_stays_as_it_is(path in "/([a%2eEfF5C/.~v1]{0,20}|.{0,20})") {
            if let Ok(normal) = normalise(&path) {
                let again = normalise(&normal).map(Cow::into_owned);
                // An escape may hide another one: `%%32e`. What is decoded once is what servers decode once.
                if !normal.contains('%') {
                    prop_assert_eq!(again, Ok(normal.clone().into_owned()));
                }
                prop_assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")), "{}", normal);
                prop_assert!(normal.starts_with('/'));
            }
        }

        #[test]
        fn a_rewritten_target_begins_with_a_slash(path in "/.{0,20}", strip in "(/[a-z]{1,3}){0,2}", prefix in "(/[a-z]{1,3}){0,2}") {
            if let Some(target) = Rewrite::new(&strip, &prefix).apply(&path, None) {
                prop_assert!(target.starts_with('/'));
            }
        }
    }
}
