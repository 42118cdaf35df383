//! Every path of the admin port.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use http::{Method, Uri};

use super::{
    alarms, audit, aws, caller, dashboard, endpoints, events, freeze, health, history, layers, live, log,
    operate, problem::Fault, queue, recording, scale, series, shifts, state::Port, undo, webhooks, weights,
};
use crate::shift::Command;

/// The whole port.
pub(super) fn router(port: Arc<Port>) -> Router {
    let api = Router::new()
        .route("/", get(dashboard::index).post(aws::front::serve))
        .route("/assets/{file}", get(dashboard::asset))
        .route("/v1/caller", get(caller::show))
        .route("/v1/live", get(live::stream))
        .route("/v1/history", get(history::list))
        .route("/v1/endpoints", get(endpoints::list))
        .route("/v1/endpoints/{name}", get(endpoints::show).put(endpoints::put).delete(endpoints::delete))
        .route("/v1/endpoints/{name}/freeze", freeze::of_one(freeze::Frost::Begin))
        .route("/v1/endpoints/{name}/unfreeze", freeze::of_one(freeze::Frost::End))
        .route("/v1/freezes", get(freeze::list))
        .route("/v1/freeze", freeze::of_all(freeze::Frost::Begin))
        .route("/v1/unfreeze", freeze::of_all(freeze::Frost::End))
        .route("/v1/endpoints/{name}/scale", post(scale::scale))
        .route("/v1/endpoints/{name}/weights", post(weights::weigh))
        .route("/v1/endpoints/{name}/undo", post(undo::undo))
        .route("/v1/endpoints/{name}/shifts", get(shifts::list).post(shifts::start))
        .route("/v1/endpoints/{name}/series", get(series::of_endpoint))
        .route("/v1/endpoints/{name}/recording", get(recording::export))
        .route("/v1/endpoints/{name}/replay", post(recording::replay))
        .route("/v1/endpoints/{name}/queue", get(queue::list))
        .route("/v1/shifts/{id}", get(shifts::show).delete(queue::cancel))
        .route("/v1/shifts/{id}/series", get(series::of_shift))
        .route("/v1/shifts/{id}/pause", shifts::commanding(Command::Pause))
        .route("/v1/shifts/{id}/resume", shifts::commanding(Command::Resume))
        .route("/v1/shifts/{id}/promote", post(shifts::promote))
        .route("/v1/shifts/{id}/abort", shifts::commanding(Command::Abort))
        .route("/v1/alarms/{name}/state", post(alarms::report))
        .route("/v1/reload", post(operate::reload))
        .route("/v1/log", get(log::show).post(log::change))
        .route("/v1/events", get(events::stream))
        .route("/v1/webhooks", get(webhooks::list))
        .route("/v1/webhooks/{name}/retry", post(webhooks::retry))
        .route("/v1/audit", get(audit::list))
        .route("/v1/audit/verification", get(audit::verify))
        .route("/v1/journal/backup", get(audit::backup))
        .route("/v1/openapi.json", get(operate::openapi))
        .route("/metrics", get(operate::metrics));
    let health = Router::new().route("/healthz", get(health::alive)).route("/readyz", get(health::ready));
    // Apart from the layers of the API: they last as long as models take, and their bodies are the data plane's matter.
    let invocations = Router::new()
        .route("/endpoints/{name}/invocations", post(aws::runtime::serve))
        .route("/endpoints/{name}/invocations-response-stream", post(aws::runtime::serve))
        .route("/endpoints/{name}/async-invocations", post(aws::runtime::serve));
    let all = layers::bounded(api)
        .merge(health)
        .merge(invocations)
        .fallback(|uri: Uri| async move { Fault::NoRoute { path: uri.path().to_owned() } })
        .method_not_allowed_fallback(|method: Method| async move { Fault::Method { method } });
    layers::guarded(all, &port).with_state(port)
}
