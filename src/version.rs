//! Which build this is.
//!
//! The commit is there where whoever builds says it, `SNAPBACK_COMMIT=$(git rev-parse --short HEAD) cargo build`, as the Dockerfile does. A
//! build script that asked git would have to guess in a package from a registry, and would build everything anew with each commit.

use std::sync::LazyLock;

/// The package's version.
pub const NUMBER: &str = env!("CARGO_PKG_VERSION");

static TEXT: LazyLock<String> = LazyLock::new(|| text_of(NUMBER, commit()));

/// The commit that it was built from, if whoever built it said so; else nothing.
pub fn commit() -> &'static str {
    option_env!("SNAPBACK_COMMIT").unwrap_or_default()
}

/// Both, for people.
pub fn text() -> &'static str {
    &TEXT
}

fn text_of(number: &str, commit: &str) -> String {
    if commit.is_empty() { number.to_owned() } else { format!("{number} ({commit})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_said_where_it_is_known() {
        assert_eq!(text_of("0.1.0", ""), "0.1.0");
        assert_eq!(text_of("0.1.0", "c0ffee"), "0.1.0 (c0ffee)");
        assert!(text().starts_with(NUMBER));
    }
}
