//! `snapback reload`.

use super::{
    CliError,
    args::{OutputFormat, ReloadArgs},
    client::Client,
    output,
};
use crate::admin::wire;

/// Makes the proxy read its configuration again, and says what changed.
pub(super) async fn reload(args: ReloadArgs) -> Result<(), CliError> {
    let client = Client::new(args.connection.admin);
    let query = if args.dry_run { "?dry_run=true" } else { "" };
    let answer = client.post(&format!("/v1/reload{query}"), None).await?;
    match args.connection.output {
        OutputFormat::Json => output::print_document(&answer),
        OutputFormat::Table => {
            let wire::Reload { changes } = answer.read()?;
            output::print(&if changes.is_empty() {
                "nothing in the file has changed".to_owned()
            } else {
                changes.join("\n")
            })
        }
    }
}
