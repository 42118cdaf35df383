//! The file of `[admin] tokens_file`: who may call the admin port, and what for.
//!
//! It holds SHA-256 hashes. A slow hash would protect passwords, which can be guessed; a token is 256 random bits, which cannot.

use std::{collections::BTreeSet, fmt};

use super::{
    Problems, Report, Table,
    document::{Node, quoted},
    reader::{parsed, word},
    shape,
};
use crate::time::WallTime;

/// Each request is compared with all of them; past this many an identity service belongs in front.
const MOST_TOKENS: usize = 1_000;

/// Lets people and scanners for leaked secrets see what a text is.
const PREFIX: &str = "snapback_";

/// What the holder of a token may do. Each role may do what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Look.
    Viewer,
    /// Start and steer shifts, report alarms, freeze, weigh and scale.
    Operator,
    /// Everything: also change endpoints, reload, and copy the journal.
    Admin,
}

/// `[[token]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenSpec {
    /// Who holds it; the actor of what is done with it.
    pub name: String,
    /// What the holder may do.
    pub role: Role,
    /// Of the whole token.
    pub sha256: [u8; 32],
    /// From the beginning of this day on, in UTC, it opens nothing.
    pub expires: Option<jiff::civil::Date>,
}

impl Role {
    /// All, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As files have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| "a role is viewer, operator or admin".to_owned())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TokenSpec {
    /// Whether it is over at this time.
    pub fn is_expired(&self, now: WallTime) -> bool {
        let Some(end) = self.expires else { return false };
        let stamp = jiff::Timestamp::from_millisecond(now.as_millis());
        // A time that no calendar holds is no proof that a token is still good.
        stamp.map_or(true, |stamp| jiff::tz::Offset::UTC.to_datetime(stamp).date() >= end)
    }
}

/// A token's text for these random bits.
pub fn token_text(bits: [u8; 32]) -> String {
    format!("{PREFIX}{}", hexadecimal(&bits))
}

/// What the file has of a token.
pub fn token_hash(token: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, token);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The hash as the file has it.
pub fn format_token_hash(hash: &[u8; 32]) -> String {
    format!("sha256:{}", hexadecimal(hash))
}

/// Checks the text of a file of tokens; `source` names it in problems.
pub fn parse_tokens(text: &str, source: &str) -> Result<Vec<TokenSpec>, Problems> {
    let root = Node::from_toml(text, source)?;
    let report = Report::default();
    let tokens = Table::root(&report, &root, &shape::TOKENS_ROOT).and_then(|table| read(&table));
    report.conclude(source, tokens)
}

/// 1 to 63 letters, digits, or any of `_ - .`; it stands in events and pages.
pub fn token_name(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a token's name: use 1 to 63 letters, digits or any of _ - .", quoted(text)))
    }
}

/// A day such as `2027-01-31`.
pub fn token_expiry(text: &str) -> Result<jiff::civil::Date, String> {
    let date = text.parse().ok().filter(|_| text.len() == 10);
    date.ok_or_else(|| format!("{} is not a day: write one such as \"2027-01-31\"", quoted(text)))
}

fn read(root: &Table<'_>) -> Option<Vec<TokenSpec>> {
    let roles = Role::ALL.map(|role| (role.as_str(), role));
    root.demand("token", "[{ name = \"ci\", role = \"operator\", hash = \"sha256:...\" }]");
    let tables = root.tables("token", &shape::TOKEN);
    if tables.len() > MOST_TOKENS {
        root.problem("token", format!("{} are more than the {MOST_TOKENS} there can be", tables.len()));
    }
    let mut names = BTreeSet::new();
    let tokens = tables.iter().map(|table| {
        let name = table.required("name", "\"ci\"", parsed(token_name));
        let role = table.required("role", "\"operator\"", word(&roles));
        let sha256 =
            table.required("hash", "\"sha256:...\", as `snapback token new` prints it", parsed(hash));
        let expires = table.optional("expires", parsed(token_expiry));
        if table.has("expires") {
            expires?;
        }
        let name = name?;
        if !names.insert(name.clone()) {
            table.problem("name", format!("there are two tokens called {name:?}"));
        }
        Some(TokenSpec { name, role: role?, sha256: sha256?, expires })
    });
    let tokens: Vec<_> = tokens.collect();
    tokens.into_iter().collect()
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    // The text is not shown: somebody may have pasted the token itself.
    let wrong = || {
        "is not a hash: write \"sha256:\" and 64 hexadecimal digits, as `snapback token new` prints it"
            .to_owned()
    };
    text.strip_prefix("sha256:").and_then(bytes_of_hex).ok_or_else(wrong)
}

/// A SHA-256 as tools print it, with colons or without.
pub(super) fn hash_of_hex(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("{} is not a SHA-256: write its 64 hexadecimal digits", quoted(text));
    bytes_of_hex(&text.replace(':', "")).ok_or_else(wrong)
}

fn bytes_of_hex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (place, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *place = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, more: &str) -> String {
        let hash = format_token_hash(&token_hash(b"x"));
        format!("[[token]]\nname = {name:?}\nrole = \"operator\"\nhash = {hash:?}\n{more}")
    }

    #[test]
    fn a_file_says_who_may_do_what_and_until_when() {
        let tokens = parse_tokens(&line("ci", "expires = \"2027-01-31\"\n"), "t.toml").unwrap();
        assert_eq!(
            (tokens[0].name.as_str(), tokens[0].role, tokens[0].sha256),
            ("ci", Role::Operator, token_hash(b"x"))
        );
        let midnight = 1_801_353_600_000;
        assert!(!tokens[0].is_expired(WallTime::from_millis(midnight - 1)));
        assert!(tokens[0].is_expired(WallTime::from_millis(midnight)));
        let lasting = parse_tokens(&line("ci", ""), "t.toml").unwrap();
        assert!(!lasting[0].is_expired(WallTime::from_millis(midnight)));
    }

    #[test]
    fn a_bad_line_is_told_where_it_is_and_what_would_be_right() {
        let cases = [
            (line("a b", ""), "is not a token's name"),
            (line("ci", "expires = \"soon\"\n"), "is not a day"),
            (line("ci", "rolle = 1\n"), "rolle"),
            (format!("{}{}", line("ci", ""), line("ci", "")), "two tokens called \"ci\""),
            (
                "[[token]]\nname = \"ci\"\nrole = \"root\"\nhash = \"abc\"\n".to_owned(),
                "64 hexadecimal digits",
            ),
            (String::new(), "token"),
        ];
        for (text, wanted) in cases {
            let problems = parse_tokens(&text, "t.toml").unwrap_err().to_string();
            assert!(problems.contains(wanted) && problems.contains("t.toml"), "{wanted}: {problems}");
        }
    }

    #[test]
    fn a_token_pasted_for_its_hash_is_not_repeated() {
        let token = token_text([7; 32]);
        let text = format!("[[token]]\nname = \"ci\"\nrole = \"viewer\"\nhash = {token:?}\n");
        let problems = parse_tokens(&text, "t.toml").unwrap_err().to_string();
        assert!(!problems.contains(&token), "{problems}");
    }
}
