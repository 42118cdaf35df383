//! Signing, as a client does.

use http::HeaderMap;
use ring::hmac;

use super::{ALGORITHM, Request, TERMINATOR, basic, canonical, hash, hex};
use crate::time::WallTime;

/// With whose key, and for what, a request is signed.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The key's id.
    pub key: &'a str,
    /// `us-east-1`
    pub region: &'a str,
    /// `events`
    pub service: &'a str,
}

/// The headers `x-amz-date` and `authorization` of a request. All headers that it has are signed, so no other may be added to those that begin
/// with `x-amz-`, and `host` must be among them.
pub fn sign(
    request: &Request<'_>,
    scope: Scope<'_>,
    secret: &str,
    now: WallTime,
) -> [(&'static str, String); 2] {
    let Scope { key, region, service } = scope;
    let stamp = basic(now.as_millis());
    let date: String = stamp.chars().take(8).collect();
    let mut headers: HeaderMap = request.headers.clone();
    if let Ok(value) = http::HeaderValue::try_from(&stamp) {
        headers.insert("x-amz-date", value);
    }
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let request = Request { headers: &headers, ..*request };
    let payload = hex(hash(request.body).as_ref());
    let canonical = canonical::request(&request, &names, &payload);
    let within = format!("{date}/{region}/{service}/{TERMINATOR}");
    let text = format!("{ALGORITHM}\n{stamp}\n{within}\n{}", hex(hash(canonical.as_bytes()).as_ref()));
    let signature =
        hex(hmac::sign(&super::derived(secret, [&date, region, service]), text.as_bytes()).as_ref());
    let signed = names.join(";");
    let authorization =
        format!("{ALGORITHM} Credential={key}/{within}, SignedHeaders={signed}, Signature={signature}");
    [("x-amz-date", stamp), ("authorization", authorization)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::verify;

    fn request(headers: &HeaderMap) -> Request<'_> {
        Request { method: "POST", path: "/", query: "", headers, body: b"{}" }
    }

    #[test]
    fn what_is_signed_here_is_known_to_be_signed_and_nothing_else() {
        let now = WallTime::from_millis(1_800_000_000_000);
        let mut headers = HeaderMap::new();
        headers.insert("host", "events.internal".parse().unwrap());
        headers.insert("x-amz-target", "AWSEvents.PutEvents".parse().unwrap());
        let scope = Scope { key: "AKIAX", region: "eu-west-1", service: "events" };
        let added = sign(&request(&headers), scope, "secret", now);
        let mut signed = headers.clone();
        for (name, value) in added {
            signed.insert(name, value.parse().unwrap());
        }
        let check = |headers: &HeaderMap, secret: &str| {
            verify(&request(headers), now, &["events"], |id| (id == "AKIAX").then(|| secret.to_owned()))
        };
        assert_eq!(check(&signed, "secret"), Ok("AKIAX".to_owned()));
        assert!(check(&signed, "other").is_err());
        signed.insert("x-amz-target", "AWSEvents.Other".parse().unwrap());
        assert!(check(&signed, "secret").is_err());
    }
}
