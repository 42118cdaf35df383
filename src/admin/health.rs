//! `/healthz` and `/readyz`

use std::sync::Arc;

use axum::extract::State;

use super::{problem::Fault, state::Port};

/// That the process lives: it answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether traffic and shifts may be sent here.
pub(super) async fn ready(State(port): State<Arc<Port>>) -> Result<&'static str, Fault> {
    if *port.draining.borrow() {
        return Err(Fault::NotReady("the data plane drains: it takes no new connections".to_owned()));
    }
    port.handle.ready().map_err(Fault::NotReady)?;
    Ok("ready\n")
}
