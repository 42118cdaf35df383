//! Version 4 of Amazon's signatures, as a server checks them, and, in `sign`, as a client makes them
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>).
//!
//! The signature covers the method, the path, the query, the signed headers and the body; a captured request is good for fifteen minutes.
//! Presigned URLs and bodies signed in chunks are for S3 and are refused. The order of checks is AWS's, so that a client with two defects is
//! told of the same one.

mod sign;

pub use sign::{Scope, sign};

use http::HeaderMap;
use ring::{digest, hmac};

use super::canonical;
use crate::time::WallTime;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// How far a client's clock may be from this one; AWS's own bound for most services.
const SKEW_MILLIS: i64 = 15 * 60 * 1_000;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `POST`
    pub method: &'a str,
    /// As sent, without the query.
    pub path: &'a str,
    /// As sent, without the question mark.
    pub query: &'a str,
    /// All of them.
    pub headers: &'a HeaderMap,
    /// All of it.
    pub body: &'a [u8],
}

/// Why a request is not known to be its key's. The sentences are AWS's, as clients show them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is not signed.
    #[error("Missing Authentication Token")]
    Missing,
    /// Its signature lacks a part, or has one that cannot be.
    #[error("{0}")]
    Incomplete(String),
    /// Nobody has this key.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// It was signed too long ago, or in the future.
    #[error("{0}")]
    Skewed(String),
    /// Somebody signed something else, or with another secret.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing \
         method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl SignatureError {
    /// What clients know the error by.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Skewed(_) | Self::Mismatch => "InvalidSignatureException",
        }
    }
}

/// What a request's head says of its signature, by a key that is known and at a moment that can be: all but whether it is right.
pub struct Claim<'a> {
    authorization: Authorization<'a>,
    stamp: &'a str,
    secret: String,
}

/// The parts of the `authorization` header.
#[derive(Debug)]
struct Authorization<'a> {
    key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed: Vec<&'a str>,
    signature: Vec<u8>,
}

/// The id of the key that a request was signed with, one of these services in its scope. `secret` says what belongs to a key's id.
///
/// # Errors
/// When it was not, or when that cannot be known.
pub fn verify(
    request: &Request<'_>,
    now: WallTime,
    services: &[&str],
    secret: impl FnOnce(&str) -> Option<String>,
) -> Result<String, SignatureError> {
    Claim::read(request.headers, now, services, secret)?.check(request)
}

impl<'a> Claim<'a> {
    /// What can be said before the body has come, so that nobody without a key makes a server wait for one.
    ///
    /// # Errors
    /// When the request is not signed, or by no key that is known, or at another time.
    pub fn read(
        headers: &'a HeaderMap,
        now: WallTime,
        services: &[&str],
        secret: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Self, SignatureError> {
        let stamp = text(headers, "x-amz-date");
        let authorization = Authorization::read(headers, stamp)?;
        let stamp = stamp.unwrap_or_default();
        authorization.check_scope(stamp, services)?;
        authorization.check_headers(headers)?;
        let Some(secret) = secret(authorization.key) else { return Err(SignatureError::UnknownKey) };
        check_skew(stamp, now)?;
        Ok(Self { authorization, stamp, secret })
    }

    /// Whether the signature is right. The id of its key.
    ///
    /// # Errors
    /// When somebody signed something else, or with another secret.
    pub fn check(self, request: &Request<'_>) -> Result<String, SignatureError> {
        let Self { authorization, stamp, secret } = self;
        let payload = payload(request)?;
        let canonical = canonical::request(request, &authorization.signed, &payload);
        let Authorization { key, date, region, service, signed: _, signature } = authorization;
        let scope = format!("{date}/{region}/{service}/{TERMINATOR}");
        let text = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex(hash(canonical.as_bytes()).as_ref()));
        let derived = derived(&secret, [date, region, service]);
        // In constant time, so that nobody finds a signature byte by byte.
        hmac::verify(&derived, text.as_bytes(), &signature).map_err(|_| SignatureError::Mismatch)?;
        Ok(key.to_owned())
    }
}

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("authorization", &self.authorization).finish_non_exhaustive()
    }
}

/// Whether a request says that its signature is not of its body.
pub fn leaves_body_out(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-content-sha256") == Some(UNSIGNED)
}

/// The key that signs within a date, a region and a service.
fn derived(secret: &str, scope: [&str; 3]) -> hmac::Key {
    let mut derived = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    for part in scope.into_iter().chain([TERMINATOR]) {
        derived = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&derived, part.as_bytes()).as_ref());
    }
    derived
}

impl<'a> Authorization<'a> {
    fn read(headers: &'a HeaderMap, stamp: Option<&str>) -> Result<Self, SignatureError> {
        let Some(header) = text(headers, "authorization") else { return Err(SignatureError::Missing) };
        let Some(parameters) = header.strip_prefix(ALGORITHM) else {
            return Err(incomplete(format!(
                "Unsupported AWS 'algorithm': only {ALGORITHM} is supported here."
            )));
        };
        let of = |name: &str| {
            let parameters = parameters.split(',').map(str::trim);
            parameters.filter_map(|parameter| parameter.split_once('=')).find(|(key, _)| *key == name)
        };
        let value = |name: &str| of(name).map(|(_, value)| value).filter(|value| !value.is_empty());
        let (credential, signed, signature) =
            (value("Credential"), value("SignedHeaders"), value("Signature"));
        let (Some(credential), Some(signed), Some(signature), Some(_)) =
            (credential, signed, signature, stamp)
        else {
            let parts = [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed)];
            let missing = parts.iter().filter(|(_, value)| value.is_none());
            let mut said: Vec<_> = missing
                .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
                .collect();
            if stamp.is_none() {
                said.push(
                    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
                        .to_owned(),
                );
            }
            return Err(incomplete(said.join(" ")));
        };
        let parts: Vec<_> = credential.split('/').collect();
        let &[key, date, region, service, terminator] = parts.as_slice() else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{}'",
                shortened(credential)
            )));
        };
        if terminator != TERMINATOR {
            return Err(incomplete(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                shortened(terminator)
            )));
        }
        let signature = unhex(signature).ok_or(SignatureError::Mismatch)?;
        Ok(Self { key, date, region, service, signed: signed.split(';').collect(), signature })
    }

    fn check_scope(&self, stamp: &str, services: &[&str]) -> Result<(), SignatureError> {
        let day = stamp.get(..8).unwrap_or_default();
        if self.date != day {
            return Err(incomplete(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', from '{}'.",
                shortened(self.date),
                shortened(day),
                shortened(stamp)
            )));
        }
        if services.contains(&self.service) {
            return Ok(());
        }
        let known = services.iter().map(|service| format!("'{service}'")).collect::<Vec<_>>().join(" or ");
        Err(incomplete(format!("Credential should be scoped to correct service: {known}. ")))
    }

    /// What says where a request goes and what it asks for must be signed, or it could be turned into another one.
    fn check_headers(&self, headers: &HeaderMap) -> Result<(), SignatureError> {
        if !self.signed.contains(&"host") {
            return Err(incomplete(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
            ));
        }
        let ours = headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
        match ours.into_iter().find(|name| !self.signed.contains(name)) {
            Some(name) => {
                Err(incomplete(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
            }
            None => Ok(()),
        }
    }
}

/// The hash of the body as it was signed; one that is declared must be right.
fn payload(request: &Request<'_>) -> Result<String, SignatureError> {
    let found = hex(hash(request.body).as_ref());
    match text(request.headers, "x-amz-content-sha256") {
        Some(UNSIGNED) => Ok(UNSIGNED.to_owned()),
        Some(declared) if declared != found => Err(SignatureError::Mismatch),
        Some(_) | None => Ok(found),
    }
}

fn check_skew(stamp: &str, now: WallTime) -> Result<(), SignatureError> {
    let Some(signed) = millis(stamp) else {
        return Err(incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
            shortened(stamp)
        )));
    };
    let now = now.as_millis();
    let (oldest, newest) = (now - SKEW_MILLIS, now + SKEW_MILLIS);
    let minutes = SKEW_MILLIS / 60_000;
    if signed < oldest {
        let (oldest, now) = (basic(oldest), basic(now));
        return Err(SignatureError::Skewed(format!(
            "Signature expired: {stamp} is now earlier than {oldest} ({now} - {minutes} min.)"
        )));
    }
    if signed > newest {
        let (newest, now) = (basic(newest), basic(now));
        return Err(SignatureError::Skewed(format!(
            "Signature not yet current: {stamp} is still later than {newest} ({now} + {minutes} min.)"
        )));
    }
    Ok(())
}

const BASIC_FORMAT: &str = "%Y%m%dT%H%M%SZ";

fn millis(stamp: &str) -> Option<i64> {
    let moment = jiff::civil::DateTime::strptime(BASIC_FORMAT, stamp).ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(moment).ok()?.as_millisecond())
}

fn basic(millis: i64) -> String {
    let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    moment.strftime(BASIC_FORMAT).to_string()
}

fn incomplete(message: String) -> SignatureError {
    SignatureError::Incomplete(message)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

fn hash(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
