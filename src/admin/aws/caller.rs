//! Who calls: whoever has one of the configured keys, or, where there is none, whoever reaches the port.

use std::{path::Path, sync::Arc};

use http::request::Parts;

use super::fault::{Fault, Kind};
use crate::{
    alarm::Token,
    aws::{Request, SignatureError, verify},
    clock,
    config::AwsKey,
};

/// Longer than any secret.
const SECRET_LIMIT: u64 = 4 << 10;

/// The id of the key that a request to a service was signed with; `None` where nobody has to sign.
pub(super) async fn of(
    keys: &Arc<[AwsKey]>,
    service: &str,
    parts: &Parts,
    body: &[u8],
) -> Result<Option<String>, Fault> {
    if keys.is_empty() {
        return Ok(None);
    }
    let secrets = read_all(Arc::clone(keys)).await?;
    let request = Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    };
    let secret = |id: &str| secrets.iter().find(|(known, _)| known == id).map(|(_, secret)| secret.clone());
    match verify(&request, clock::wall(), &[service], secret) {
        Ok(id) => Ok(Some(id)),
        Err(error) => Err(Fault::new(kind(&error), error.to_string())),
    }
}

const fn kind(error: &SignatureError) -> Kind {
    match error {
        SignatureError::Missing => Kind::Unsigned,
        SignatureError::Incomplete(_) => Kind::IncompleteSignature,
        SignatureError::UnknownKey => Kind::UnknownKey,
        SignatureError::Skewed(_) | SignatureError::Mismatch => Kind::InvalidSignature,
    }
}

/// Read at every request, so that a secret can be replaced while the process serves. One that cannot be read lets nobody in.
async fn read_all(keys: Arc<[AwsKey]>) -> Result<Vec<(String, String)>, Fault> {
    let read = tokio::task::spawn_blocking(move || {
        let secrets = keys.iter().filter_map(|AwsKey { id, secret }| match read(secret) {
            Ok(secret) => Some((id.clone(), secret)),
            Err(error) => {
                tracing::error!(key = id, %error, "the secret of a key cannot be read, so it opens nothing");
                None
            }
        });
        secrets.collect()
    });
    read.await.map_err(|_| Fault::new(Kind::Internal, "an internal error; the log has more"))
}

/// Without the line's end. An empty one is none: everybody could sign with it.
fn read(secret: &Token) -> Result<String, String> {
    let text = match secret {
        Token::Environment(name) => {
            std::env::var(name).map_err(|error| format!("the variable {name}: {error}"))?
        }
        Token::File(path) => read_file(path)?,
    };
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        secret => Ok(secret.to_owned()),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SECRET_LIMIT).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| format!("{}: {error}", path.display()))
}
