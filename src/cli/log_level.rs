//! `snapback log-level`.

use super::{
    CliError,
    args::{Because, LogLevelArgs},
    client::Client,
    output::Output,
};
use crate::admin::wire;

/// Shows or changes which lines the proxy writes to its log.
pub(super) async fn log_level(args: LogLevelArgs, output: &mut Output) -> Result<(), CliError> {
    let LogLevelArgs { connection, level, reset, span, because: Because { reason } } = args;
    let client = Client::new(&connection);
    let answer = if level.is_some() || reset {
        let body = wire::LogBody { level, span, reason, actor: None };
        client.post("/v1/log", Some(serde_json::to_value(body).expect("texts are JSON"))).await?
    } else {
        client.get("/v1/log").await?
    };
    output.answer(&answer, || {
        let wire::Log { level, configured, until } = answer.read()?;
        Ok(match until {
            Some(until) => format!("{level} until {until}, then {configured}"),
            None if level == configured => level,
            None => format!(
                "{level}, until the process ends or is told otherwise; its configuration has {configured}"
            ),
        })
    })
}
