//! Signatures of deliveries, as Standard Webhooks has them
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! `webhook-signature` holds, for each secret, `v1,` and the base64 of HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`. The timestamp,
//! in seconds since 1970, is signed too, so a receiver can refuse what is old, and the id stays the same over all attempts, so it can refuse
//! what it has had.

use std::{fmt, io::Read, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;

use crate::alarm::Token;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// The specification's bounds on a secret's bytes.
const LEAST_BYTES: usize = 24;
const MOST_BYTES: usize = 64;

/// More than the few secrets that a rotation needs.
const TEXT_LIMIT: u64 = 4 << 10;

/// The secrets that a webhook's deliveries are signed with: one, or while it is being replaced the new and the old.
pub(super) struct Secrets(Vec<hmac::Key>);

/// Why there is no secret. Never repeats what was read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret's file {path} cannot be read: {reason}")]
    File {
        /// As configured.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The variable is not there.
    #[error("the variable {0} for the secret is not set")]
    Variable(String),
    /// What is there is no secret.
    #[error(
        "the secret is not {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} bytes, one a line: make one with `echo \
         {PREFIX}$(openssl rand -base64 32)`"
    )]
    Form,
}

impl Secrets {
    /// Reads them, at each attempt, so that they can be replaced while the process serves. Blocks on a file.
    pub(super) fn read(source: &Token) -> Result<Self, SecretError> {
        Self::parse(&read(source)?)
    }

    fn parse(text: &str) -> Result<Self, SecretError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<_>> = lines.map(key).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self).ok_or(SecretError::Form)
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut content = format!("{id}.{timestamp}.").into_bytes();
        content.extend_from_slice(body);
        let signatures = self.0.iter().map(|key| {
            let tag = hmac::sign(key, &content);
            format!("v1,{}", BASE64_STANDARD.encode(tag))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.len()).finish()
    }
}

fn key(line: &str) -> Option<hmac::Key> {
    let bytes = BASE64_STANDARD.decode(line.strip_prefix(PREFIX)?).ok()?;
    (LEAST_BYTES..=MOST_BYTES).contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// What is there, whatever it is. Blocks on a file.
pub(super) fn read(source: &Token) -> Result<String, SecretError> {
    match source {
        Token::Environment(name) => std::env::var(name).map_err(|_| SecretError::Variable(name.clone())),
        Token::File(path) => read_file(path),
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let unreadable = |error: std::io::Error| SecretError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(TEXT_LIMIT).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own example, as its reference libraries test it.
    #[test]
    fn a_signature_is_the_specifications() {
        let secrets = Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let one = format!("whsec_{}", BASE64_STANDARD.encode([1; 32]));
        let two = format!("whsec_{}", BASE64_STANDARD.encode([2; 32]));
        let sign = |text: &str| Secrets::parse(text).unwrap().sign("a", 1, b"x");
        assert_eq!(sign(&format!("{one}\n{two}\n")), format!("{} {}", sign(&one), sign(&two)));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        let short = format!("whsec_{}", BASE64_STANDARD.encode([1; 8]));
        let long = format!("whsec_{}", BASE64_STANDARD.encode([1; 65]));
        for bad in ["", "\n", "hunter2", "whsec_", "whsec_!!!", &short, &long] {
            let error = Secrets::parse(bad).unwrap_err();
            assert!(bad.trim().len() < 7 || !error.to_string().contains(bad), "{bad}");
        }
        let nowhere = Secrets::read(&Token::File("/nowhere/secret".into())).unwrap_err().to_string();
        assert!(nowhere.contains("/nowhere/secret"), "{nowhere}");
        let unset = Secrets::read(&Token::Environment("SNAPBACK_WEBHOOK_OF_NOBODY".to_owned()));
        assert!(unset.unwrap_err().to_string().contains("SNAPBACK_WEBHOOK_OF_NOBODY"));
    }
}
