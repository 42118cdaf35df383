//! `snapback reload`.

use super::{CliError, args::ReloadArgs, client::Client, output::Output};
use crate::admin::wire;

/// Makes the proxy read its configuration again, and says what changed.
pub(super) async fn reload(args: ReloadArgs, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection).because(&args.because.reason);
    let query = args.dry_run.query();
    let answer = client.post(&format!("/v1/reload{query}"), None).await?;
    output.answer(&answer, || {
        let wire::Reload { changes } = answer.read()?;
        Ok(if changes.is_empty() { "nothing in the file has changed".to_owned() } else { changes.join("\n") })
    })
}
