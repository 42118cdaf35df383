//! `snapback alarm ...`: reports on external alarms.

use super::{
    CliError,
    args::{AlarmArgs, AlarmCommand},
    client::Client,
    output::Output,
};
use crate::admin::wire;

/// Reports a state, and says which shifts heard it.
pub(super) async fn alarm(args: AlarmArgs, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection);
    let AlarmCommand::Set { name, state, reason } = args.command;
    let body =
        serde_json::to_value(wire::AlarmReport { state, reason, actor: None }).expect("texts are JSON");
    let answer = client.post(&format!("/v1/alarms/{name}/state"), Some(body)).await?;
    output.answer(&answer, || {
        let wire::AlarmReported { name, state, shifts } = answer.read()?;
        Ok(format!("{name} is {} for {}", state.as_str().replace('_', " "), shifts.join(", ")))
    })
}
