//! A request in the one form that both sides sign
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#create-canonical-request>).

use http::HeaderMap;

use super::Request;

/// The whole form: method, path, query, signed headers and the hash of the body.
pub(super) fn request(request: &Request<'_>, signed: &[&str], payload: &str) -> String {
    let Request { method, path, query, headers, body: _ } = request;
    let lines: String = signed.iter().map(|name| format!("{name}:{}\n", header(headers, name))).collect();
    format!(
        "{method}\n{}\n{}\n{lines}\n{}\n{payload}",
        self::path(path),
        self::query(query),
        signed.join(";")
    )
}

/// As every service but S3 wants it: dot segments resolved, and encoded once more than it came.
fn path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let joined: Vec<_> = segments.iter().map(|segment| encode(segment.as_bytes())).collect();
    let ends_in_slash = !joined.is_empty() && path.ends_with('/');
    format!("/{}{}", joined.join("/"), if ends_in_slash { "/" } else { "" })
}

/// Parameters in the order of their encoded names and values.
fn query(query: &str) -> String {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut pairs: Vec<_> = parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (encode(&decode(name)), encode(&decode(value)))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// A header's values, joined by commas, without needless spaces. One that is absent is empty, which no client signs.
fn header(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").trim().to_owned()
    });
    values.collect::<Vec<_>>().join(",")
}

/// Everything but letters, digits and `-._~` as %XX (RFC 3986 section 2.3).
fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// What is no escape stays as it is.
fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code =
            after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}
