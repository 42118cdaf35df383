//! The one table from route to what its caller needs, where tokens are asked for.

use http::Method;

use crate::config::Role;

/// What a route asks of its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// Nothing: balancers and kubelets have no tokens.
    Nothing,
    /// Numbers without names of people: nothing on loopback, where scrapers are; else what a viewer has.
    Metrics,
    /// A signature, which the handler checks, where keys for it are configured; else an admin's token.
    Signature,
    /// A token of this role, or of one that may do more.
    Role(Role),
}

use Need::{Metrics, Nothing, Role as Of, Signature};
use Role::{Admin, Operator, Viewer};

/// A test holds this against the routes.
const TABLE: &[(Method, &str, Need)] = &[
    (Method::GET, "/healthz", Nothing),
    (Method::GET, "/readyz", Nothing),
    (Method::GET, "/metrics", Metrics),
    (Method::POST, "/", Signature),
    (Method::POST, "/endpoints/{name}/invocations", Signature),
    (Method::POST, "/endpoints/{name}/invocations-response-stream", Signature),
    (Method::POST, "/endpoints/{name}/async-invocations", Signature),
    // The dashboard itself holds no secrets; what it shows is asked for with a token.
    (Method::GET, "/", Nothing),
    (Method::GET, "/assets/{file}", Nothing),
    (Method::GET, "/v1/caller", Nothing),
    (Method::GET, "/v1/live", Of(Viewer)),
    (Method::GET, "/v1/history", Of(Viewer)),
    (Method::GET, "/v1/endpoints", Of(Viewer)),
    (Method::GET, "/v1/endpoints/{name}", Of(Viewer)),
    (Method::PUT, "/v1/endpoints/{name}", Of(Admin)),
    (Method::DELETE, "/v1/endpoints/{name}", Of(Admin)),
    (Method::POST, "/v1/endpoints/{name}/freeze", Of(Operator)),
    (Method::POST, "/v1/endpoints/{name}/unfreeze", Of(Operator)),
    (Method::GET, "/v1/freezes", Of(Viewer)),
    (Method::POST, "/v1/freeze", Of(Operator)),
    (Method::POST, "/v1/unfreeze", Of(Operator)),
    (Method::POST, "/v1/endpoints/{name}/scale", Of(Operator)),
    (Method::POST, "/v1/endpoints/{name}/weights", Of(Operator)),
    (Method::POST, "/v1/endpoints/{name}/undo", Of(Operator)),
    (Method::GET, "/v1/endpoints/{name}/shifts", Of(Viewer)),
    (Method::POST, "/v1/endpoints/{name}/shifts", Of(Operator)),
    (Method::GET, "/v1/endpoints/{name}/queue", Of(Viewer)),
    (Method::GET, "/v1/endpoints/{name}/series", Of(Viewer)),
    (Method::GET, "/v1/endpoints/{name}/recording", Of(Viewer)),
    // It changes nothing, but takes a core for seconds.
    (Method::POST, "/v1/endpoints/{name}/replay", Of(Operator)),
    (Method::GET, "/v1/shifts/{id}", Of(Viewer)),
    (Method::GET, "/v1/shifts/{id}/series", Of(Viewer)),
    (Method::DELETE, "/v1/shifts/{id}", Of(Operator)),
    (Method::POST, "/v1/shifts/{id}/pause", Of(Operator)),
    (Method::POST, "/v1/shifts/{id}/resume", Of(Operator)),
    (Method::POST, "/v1/shifts/{id}/promote", Of(Operator)),
    (Method::POST, "/v1/shifts/{id}/abort", Of(Operator)),
    (Method::POST, "/v1/alarms/{name}/state", Of(Operator)),
    (Method::POST, "/v1/reload", Of(Admin)),
    (Method::GET, "/v1/log", Of(Viewer)),
    (Method::POST, "/v1/log", Of(Operator)),
    (Method::GET, "/v1/events", Of(Viewer)),
    (Method::GET, "/v1/webhooks", Of(Viewer)),
    (Method::POST, "/v1/webhooks/{name}/retry", Of(Operator)),
    (Method::GET, "/v1/audit", Of(Viewer)),
    (Method::GET, "/v1/audit/verification", Of(Viewer)),
    // The whole journal, with whatever declarations hold.
    (Method::GET, "/v1/journal/backup", Of(Admin)),
    (Method::GET, "/v1/openapi.json", Of(Viewer)),
];

/// What a route's caller needs. Outside of all routes anybody known may learn that there is nothing; what the table does not know is for
/// admins alone.
pub(super) fn need(method: &Method, route: Option<&str>) -> Need {
    let Some(route) = route else { return Of(Viewer) };
    listed(method, route).unwrap_or(Of(Admin))
}

fn listed(method: &Method, route: &str) -> Option<Need> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let row = TABLE.iter().find(|(known, path, _)| known == method && *path == route);
    row.map(|(_, _, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The description is held against the routes and their methods by a test of its own.
    #[test]
    fn every_route_that_is_described_says_what_its_caller_needs_and_none_else_does() {
        let root: serde_json::Value = serde_json::from_str(super::super::operate::OPENAPI).unwrap();
        let mut described = 0;
        for (path, item) in root["paths"].as_object().unwrap() {
            for name in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                let method: Method = name.to_uppercase().parse().unwrap();
                let need =
                    listed(&method, path).unwrap_or_else(|| panic!("{method} {path} is not in the table"));
                let changes = method != Method::GET;
                let is_guarded = matches!(need, Signature | Of(Operator | Admin));
                assert!(!changes || is_guarded, "{method} {path}");
                described += 1;
            }
        }
        assert_eq!(described, TABLE.len());
    }

    #[test]
    fn what_the_table_does_not_know_is_for_admins() {
        assert_eq!(need(&Method::POST, Some("/v2/new")), Of(Admin));
        assert_eq!(need(&Method::GET, None), Of(Viewer));
        assert_eq!(need(&Method::HEAD, Some("/healthz")), Nothing);
    }
}
