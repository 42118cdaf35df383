//! `snapback alarm ...`: reports on external alarms.

use super::{
    CliError,
    args::{AlarmCommand, Asked, Because},
    client::Client,
    output::Output,
};
use crate::admin::wire;

/// Reports a state, and says which shifts heard it.
pub(super) async fn alarm(args: Asked<AlarmCommand>, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection);
    let AlarmCommand::Set { name, state, because: Because { reason } } = args.command;
    let body =
        serde_json::to_value(wire::AlarmReport { state, reason, actor: None }).expect("texts are JSON");
    let answer = client.post(&format!("/v1/alarms/{name}/state"), Some(body)).await?;
    output.answer(&answer, || {
        let wire::AlarmReported { name, state, shifts } = answer.read()?;
        let state = state.as_str().replace('_', " ");
        Ok(match shifts.as_slice() {
            [] => format!("{name} is {state}, so a shift that watches it can start"),
            [_, ..] => format!("{name} is {state} for {}", shifts.join(", ")),
        })
    })
}
