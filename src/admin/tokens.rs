//! Who calls, where `[admin] tokens_file` is set: the holder of one of its tokens (RFC 6750).
//!
//! Before each request it is looked whether the file has changed, so a token that is taken out opens nothing from then on, and a new one needs no
//! restart. A file that cannot be used changes nothing.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::extract::MatchedPath;
use http::{Extensions, HeaderMap, Method, header};
use subtle::ConstantTimeEq;

use super::{
    actor::Peer,
    identities::Identity,
    problem::Fault,
    roles::{self, Need},
};
use crate::{
    clock,
    config::{Problems, Role, TokenSpec, parse_tokens, token_hash},
    time::{Moment, WallTime},
    tls::Stamp,
};

/// A thousand tokens are a fifth of this.
const FILE_LIMIT: u64 = 1 << 20;

/// After so many failures within [`WINDOW`] a peer is told to slow down. A valid token is never turned away: 256 bits cannot be guessed, and
/// a broken script must not keep an operator at the same address from an abort.
const MOST_FAILURES: u32 = 10;

/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);

/// So many peers' failures are remembered; past them the oldest are forgotten.
const MOST_PEERS: usize = 1_024;

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("the file of tokens {}: {source}", path.display())]
    Read {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others could write tokens of their own into it.
    #[error("the file of tokens {0} can be written by others than its owner: chmod go-w {0}")]
    Writable(String),
    /// It is too long to be one.
    #[error("the file of tokens {0} is longer than {FILE_LIMIT} bytes")]
    TooLong(String),
    /// It has problems.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// The tokens, as new as their file.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    stamp: Stamp,
    known: Mutex<Arc<[TokenSpec]>>,
}

/// Who was let in, in the extensions of a request and of its response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Caller(pub(super) String);

/// Asks callers who they are, by a token or by a certificate.
#[derive(Debug)]
pub(super) struct Gate {
    /// Without it, certificates alone say who calls.
    tokens: Option<Arc<Tokens>>,
    failures: Mutex<Failures>,
    /// Whether only this machine reaches the port.
    is_local: bool,
    /// Whether `POST /` asks for signatures.
    is_signed: bool,
}

/// Why nobody is known to have called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stranger {
    /// The token is none, or there is none.
    Token(&'static str),
    /// The certificate is that of nobody, and there are no tokens.
    Certificate,
}

/// When each peer began to fail, and how often it has since.
#[derive(Debug, Default)]
struct Failures(BTreeMap<String, (Moment, u32)>);

impl Tokens {
    /// Reads the file for the first time.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let stamp = Stamp::new(vec![path.to_owned()]);
        let known = Mutex::new(read(path)?.into());
        Ok(Self { path: path.to_owned(), stamp, known })
    }

    /// The tokens of the file as it is now, or as it was when it could last be used.
    fn current(&self) -> Arc<[TokenSpec]> {
        // Held while the file is read, so that nobody gets in by the old tokens meanwhile.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stamp.has_changed() {
            match read(&self.path) {
                Ok(tokens) => {
                    tracing::info!(count = tokens.len(), "tokens were read again");
                    *known = tokens.into();
                }
                Err(error) => tracing::error!(%error, "new tokens are refused; the old ones stay"),
            }
        }
        Arc::clone(&known)
    }
}

impl Gate {
    pub(super) fn new(tokens: Option<Arc<Tokens>>, is_local: bool, is_signed: bool) -> Self {
        Self { tokens, failures: Mutex::default(), is_local, is_signed }
    }

    /// Who calls and what for, if the route asks; or why the request may not go on.
    pub(super) async fn check(
        &self,
        method: &Method,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<(Caller, Role)>, Fault> {
        let route = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let needed = match roles::need(method, route) {
            Need::Nothing => return Ok(None),
            Need::Metrics if self.is_local => return Ok(None),
            Need::Signature if self.is_signed => return Ok(None),
            Need::Metrics => Role::Viewer,
            Need::Signature => Role::Admin,
            Need::Role(role) => role,
        };
        let (name, has) = self.holder(headers, extensions).await?;
        if has >= needed { Ok(Some((Caller(name), needed))) } else { Err(Fault::Role { name, has, needed }) }
    }

    /// Whether there are tokens to be asked for.
    pub(super) fn takes_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Who calls, and what for.
    pub(super) async fn holder(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<(String, Role), Fault> {
        let known = self.known().await?;
        let found = recognise(known.as_deref(), headers, extensions.get());
        found.map_err(|stranger| self.failed(extensions.get(), stranger))
    }

    /// Whether what opened a stream would still open it. A failure is not counted against the peer, who asks nothing anew.
    pub(super) async fn still_opens(
        &self,
        headers: &HeaderMap,
        identity: Option<&Identity>,
        needed: Role,
    ) -> bool {
        let Ok(known) = self.known().await else { return false };
        recognise(known.as_deref(), headers, identity).is_ok_and(|(_, has)| has >= needed)
    }

    /// The tokens as they are now, where there is a file of them. It is read off the runtime's thread.
    async fn known(&self) -> Result<Option<Arc<[TokenSpec]>>, Fault> {
        let Some(tokens) = self.tokens.clone() else { return Ok(None) };
        let known = tokio::task::spawn_blocking(move || tokens.current()).await;
        known.map(Some).map_err(|_| Fault::Panicked)
    }

    fn failed(&self, peer: Option<&Peer>, stranger: Stranger) -> Fault {
        let peer = peer.map(|Peer(text)| text.as_str()).unwrap_or_default();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.is_one_too_many(peer, clock::now()) {
            return Fault::ManyFailures;
        }
        match stranger {
            Stranger::Token(why) => Fault::NoToken(why),
            Stranger::Certificate => Fault::NoIdentity,
        }
    }
}

impl Failures {
    fn is_one_too_many(&mut self, peer: &str, now: Moment) -> bool {
        self.0.retain(|_, (since, _)| now.since(*since) < WINDOW);
        if self.0.len() >= MOST_PEERS
            && !self.0.contains_key(peer)
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, (since, _))| *since).map(|(peer, _)| peer.clone())
        {
            self.0.remove(&oldest);
        }
        let (_, count) = self.0.entry(peer.to_owned()).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count > MOST_FAILURES
    }
}

/// Who shows this. A token that is shown counts before a certificate: whoever shows one wants it to count.
fn recognise(
    known: Option<&[TokenSpec]>,
    headers: &HeaderMap,
    identity: Option<&Identity>,
) -> Result<(String, Role), Stranger> {
    let shows_token = headers.contains_key(header::AUTHORIZATION) && known.is_some();
    if let (false, Some(Identity { name, role })) = (shows_token, identity) {
        return Ok((name.clone(), *role));
    }
    let known = known.ok_or(Stranger::Certificate)?;
    let token = find(known, headers, clock::wall()).map_err(Stranger::Token)?;
    Ok((token.name.clone(), token.role))
}

/// The token that a request shows. All are compared to the end, so that the time says nothing about which comes close; and what is compared are
/// hashes, whose beginnings nobody chooses.
fn find<'a>(
    known: &'a [TokenSpec],
    headers: &HeaderMap,
    now: WallTime,
) -> Result<&'a TokenSpec, &'static str> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return Err("there is no token");
    };
    let bytes = given.as_bytes();
    let Some((scheme, token)) = bytes.split_at_checked("Bearer ".len()) else {
        return Err("the authorization header has no bearer token");
    };
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err("the authorization header has no bearer token");
    }
    let hash = token_hash(token.trim_ascii());
    let mut found = None;
    for token in known {
        if token.sha256.ct_eq(&hash).into() {
            found = Some(token);
        }
    }
    match found {
        Some(token) if token.is_expired(now) => Err("the token has expired"),
        Some(token) => Ok(token),
        None => Err("the token is not known"),
    }
}

fn read(path: &Path) -> Result<Vec<TokenSpec>, TokensError> {
    let failed = |source| TokensError::Read { path: path.to_owned(), source };
    let source = path.display().to_string();
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o022 != 0 {
        return Err(TokensError::Writable(source));
    }
    let mut text = String::new();
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(TokensError::TooLong(source));
    }
    Ok(parse_tokens(&text, &source)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, expires: Option<&str>) -> TokenSpec {
        let expires = expires.map(|day| day.parse().unwrap());
        TokenSpec { name: name.to_owned(), role: Role::Viewer, sha256: token_hash(name.as_bytes()), expires }
    }

    #[test]
    fn only_a_whole_known_token_that_is_not_over_is_somebodys() {
        let known = [spec("first", None), spec("old", Some("1971-01-01")), spec("last", None)];
        let now = WallTime::from_millis(1_769_860_800_250);
        let ask = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            find(&known, &headers, now).map(|token| token.name.clone())
        };
        assert_eq!(ask("Bearer first").unwrap(), "first");
        assert_eq!(ask("bearer  last ").unwrap(), "last");
        assert!(ask("Bearer old").unwrap_err().contains("expired"));
        for bad in ["Bearer firs", "Bearer first1", "Bearer ", "Basic first", "first", ""] {
            assert!(ask(bad).is_err(), "{bad:?}");
        }
        assert!(find(&known, &HeaderMap::new(), now).is_err());
    }

    fn holder<'a>(known: &'a [TokenSpec], token: &str) -> Option<&'a str> {
        let headers =
            HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())]);
        find(known, &headers, WallTime::from_millis(0)).ok().map(|token| token.name.as_str())
    }

    #[test]
    fn every_bit_of_a_hash_counts() {
        let whole = spec("whole", None);
        for bit in 0..256 {
            let mut other = TokenSpec { sha256: whole.sha256, ..spec("other", None) };
            other.sha256[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(holder(&[other], "whole"), None, "bit {bit}");
        }
        assert_eq!(holder(&[whole], "whole"), Some("whole"));
    }

    #[test]
    fn the_search_does_not_end_at_the_token_that_fits() {
        // How long it takes would tell where a token stands. Of two with one hash it is therefore the last that is found.
        let twin = TokenSpec { name: "twin".to_owned(), ..spec("first", None) };
        let known = [spec("before", None), spec("first", None), twin, spec("after", None)];
        assert_eq!(holder(&known, "first"), Some("twin"));
    }

    #[test]
    fn failures_are_counted_by_peer_within_a_window_and_a_bound() {
        let mut failures = Failures::default();
        let start = Moment::from_nanos(1);
        let counted = (0..12).map(|_| failures.is_one_too_many("a", start));
        assert_eq!(counted.filter(|is_many| *is_many).count(), 2);
        assert!(!failures.is_one_too_many("b", start));
        assert!(!failures.is_one_too_many("a", start.after(WINDOW)));
        for peer in 0..2 * MOST_PEERS {
            failures.is_one_too_many(&peer.to_string(), start.after(WINDOW));
        }
        assert_eq!(failures.0.len(), MOST_PEERS);
    }
}
