//! `snapback check`: every problem of the files at once.

use std::path::Path;

use super::{CliError, args::CheckArgs, output, plan_file};
use crate::config;

/// Checks each file that was named; all are looked at before the first is reported.
pub(super) fn check(args: &CheckArgs) -> Result<(), CliError> {
    let config = args.config.as_deref().map(check_config);
    let plan = args.plan.as_deref().map(check_plan);
    let mut failed = None;
    for result in [config, plan].into_iter().flatten() {
        match (result, &failed) {
            (Ok(text), _) => output::print(&text)?,
            (Err(error), None) => failed = Some(error),
            (Err(error), Some(_)) => output::note(&error.report()),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn check_config(path: &Path) -> Result<String, CliError> {
    let config = config::load(path)?;
    let names: Vec<&str> = config.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let endpoints = match names.as_slice() {
        [] => "no endpoints yet".to_owned(),
        [name] => format!("1 endpoint: {name}"),
        _ => format!("{} endpoints: {}", names.len(), names.join(", ")),
    };
    Ok(format!("{}: no problems ({endpoints})", path.display()))
}

fn check_plan(path: &Path) -> Result<String, CliError> {
    let plan = plan_file::read(path)?;
    let shares: Vec<String> = plan.shift.steps().iter().map(|step| step.share.to_string()).collect();
    Ok(format!("{}: no problems (green {} by {})", path.display(), plan.green.version, shares.join(", ")))
}
