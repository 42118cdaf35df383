//! `GET /v1/caller`: who the caller is taken for. Anybody may ask, so that a dashboard knows whether to ask for a token.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::{Extensions, HeaderMap, header};
use serde::{Deserialize, Serialize};

use super::{
    extract::{Nothing, Parameters},
    identities::Identity,
    problem::Fault,
    state::Port,
    tokens::Gate,
};
use crate::config::Role;

/// `GET /v1/caller`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// Whether callers are asked for tokens.
    pub tokens: bool,
    /// The name of the token or of the certificate that was shown; null without one.
    pub name: Option<String>,
    /// `viewer`, `operator` or `admin`; null for a caller who has yet to show one.
    pub role: Option<String>,
    /// The version of snapback.
    pub version: String,
}

/// A token that is shown must be one.
pub(super) async fn show(
    State(port): State<Arc<Port>>,
    Parameters(Nothing {}): Parameters<Nothing>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Json<Caller>, Fault> {
    let (name, role) = match &port.gate {
        None => (None, Some(Role::Admin)),
        Some(_) if !headers.contains_key(header::AUTHORIZATION) && extensions.get::<Identity>().is_none() => {
            (None, None)
        }
        Some(gate) => {
            let (name, role) = gate.holder(&headers, &extensions).await?;
            (Some(name), Some(role))
        }
    };
    Ok(Json(Caller {
        tokens: port.gate.as_ref().is_some_and(Gate::takes_tokens),
        name,
        role: role.map(|role| role.as_str().to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}
