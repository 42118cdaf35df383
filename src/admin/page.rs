//! `/`: what this port has, for somebody who opens it in a browser. No scripts.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::State,
    response::{Html, IntoResponse},
};
use http::header;

use super::{
    extract::{Nothing, Parameters},
    problem::Fault,
    state::Port,
};
use crate::control::EndpointView;

/// The page loads nothing and runs nothing, whatever its text might say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Snapback</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8888 }
</style>
<h1>Snapback</h1>
";

const FOOT: &str = "<p><a href=\"/v1/endpoints\">Endpoints</a>, <a href=\"/v1/events?after=0\">events</a>,
<a href=\"/v1/openapi.json\">API description</a>, <a href=\"/metrics\">metrics</a>, <a href=\"/readyz\">readiness</a></p>
</html>
";

pub(super) async fn index(
    State(port): State<Arc<Port>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<impl IntoResponse, Fault> {
    let endpoints = port.handle.endpoints().await?;
    Ok(([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page(&endpoints))))
}

/// Names, versions, shares and ids are of alphabets that need no escaping in HTML (see `crate::name`).
fn page(endpoints: &[EndpointView]) -> String {
    let mut text = HEAD.to_owned();
    if endpoints.is_empty() {
        text.push_str("<p>No endpoints yet: PUT /v1/endpoints/{name} declares one.</p>\n");
    } else {
        text.push_str("<table>\n<tr><th>Endpoint<th>Blue<th>Green<th>Green's share<th>Shift\n");
        for endpoint in endpoints {
            row(&mut text, endpoint);
        }
        text.push_str("</table>\n");
    }
    text.push_str(FOOT);
    text
}

fn row(text: &mut String, endpoint: &EndpointView) {
    let name = &endpoint.declared.name;
    let green = endpoint.green.as_ref().map_or_else(|| "-".to_owned(), |green| green.version.to_string());
    let shift = match &endpoint.running_shift {
        Some(id) => format!("<a href=\"/v1/shifts/{id}\">{id}</a>"),
        None => format!("none, <a href=\"/v1/endpoints/{name}/shifts\">past ones</a>"),
    };
    let blue = &endpoint.blue.version;
    let share = endpoint.share;
    writeln!(
        text,
        "<tr><td><a href=\"/v1/endpoints/{name}\">{name}</a><td>{blue}<td>{green}<td>{share}<td>{shift}"
    )
    .expect("writing to a String cannot fail");
}
