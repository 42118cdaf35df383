//! `snapback check`: every problem of the files at once.

use std::path::Path;

use super::{CliError, args::CheckArgs, output::Output, plan_file};
use crate::config;

/// Checks each file that was named; all are looked at before the first is reported.
pub(super) fn check(args: &CheckArgs, output: &mut Output) -> Result<(), CliError> {
    let config = args.config.as_deref().map(check_config);
    let plan = args.plan.as_deref().map(check_plan);
    let mut failed = None;
    for result in [config, plan].into_iter().flatten() {
        match (result, &failed) {
            (Ok(text), _) => output.text(&text)?,
            (Err(error), None) => failed = Some(error),
            (Err(error), Some(_)) => output.note(&error.report()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Format, OutputFormat};

    const TABLE: Format = Format { output: OutputFormat::Table };

    const PLAN: &str = "strategy = { type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }\n\
        [green]\nversion = \"v2\"\ninstances = [\"127.0.0.1:9003\"]\n[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n";

    fn checked(config: &str, plan: &str) -> Result<(), CliError> {
        let folder = tempfile::tempdir().unwrap();
        let (config_path, plan_path) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
        std::fs::write(&config_path, config).unwrap();
        std::fs::write(&plan_path, plan).unwrap();
        let args = CheckArgs { config: Some(config_path), plan: Some(plan_path), format: TABLE };
        let mut output =
            Output::new(OutputFormat::Table, Box::new(std::io::sink()), Box::new(std::io::sink()));
        check(&args, &mut output)
    }

    #[test]
    fn good_files_have_no_problems_and_a_bad_one_is_told_whichever_it_is() {
        checked("", PLAN).unwrap();
        let error = checked("[date]\n", PLAN).unwrap_err().report();
        assert!(error.contains("a.toml:1: date"), "{error}");
        let error = checked("", "gren = 1\n").unwrap_err().report();
        assert!(error.contains("b.toml:1: gren"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let args = CheckArgs { config: None, plan: Some("nowhere/plan.toml".into()), format: TABLE };
        let mut output =
            Output::new(OutputFormat::Table, Box::new(std::io::sink()), Box::new(std::io::sink()));
        let error = check(&args, &mut output).unwrap_err().report();
        assert_eq!(error, "error: cannot read nowhere/plan.toml: No such file or directory (os error 2)");
    }
}
