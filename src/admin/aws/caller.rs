//! Who calls: whoever has one of the configured keys, or, where there is none, whoever reaches the port.

use std::sync::Arc;

use http::request::Parts;

use super::{
    fault::{Fault, Kind},
    secrets,
};
use crate::{
    aws::{Request, SignatureError, verify},
    clock,
    config::AwsKey,
};

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

/// Read at every request, so that a secret can be replaced while the process serves.
async fn read_all(keys: Arc<[AwsKey]>) -> Result<Vec<(String, String)>, Fault> {
    let read = tokio::task::spawn_blocking(move || secrets::read_secrets(&keys)).await;
    read.map_err(|_| Fault::new(Kind::Internal, "an internal error; the log has more"))
}
