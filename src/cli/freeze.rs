//! `snapback freeze|unfreeze`.

use super::{CliError, args::FreezeArgs, client::Client, output::Output};
use crate::admin::wire;

/// Freezes or unfreezes, and says which freezes there are then.
pub(super) async fn freeze(args: FreezeArgs, verb: &str, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection);
    let path = match &args.whose.endpoint {
        Some(name) => format!("/v1/endpoints/{name}/{verb}"),
        None => format!("/v1/{verb}"),
    };
    let body = wire::CommandBody { reason: args.because.reason, actor: None };
    let body = serde_json::to_value(body).expect("texts are JSON");
    let answer = client.post(&path, Some(body)).await?;
    output.answer(&answer, || {
        let wire::Freezes { freezes } = answer.read()?;
        if freezes.is_empty() {
            return Ok("nothing is frozen".to_owned());
        }
        Ok(freezes.iter().map(line).collect::<Vec<_>>().join("\n"))
    })
}

/// A freeze in a line.
pub(super) fn line(freeze: &wire::Freeze) -> String {
    let wire::Freeze { endpoint, actor, reason, since } = freeze;
    let whose =
        endpoint.as_deref().map_or_else(|| "all endpoints are".to_owned(), |name| format!("{name} is"));
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{whose} frozen by {actor} since {since}{why}")
}
