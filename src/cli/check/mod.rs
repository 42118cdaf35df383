//! `snapback check`: every problem of the files at once, and of sound ones what they come to.

mod explain;
mod risks;

use std::path::Path;

use serde_json::{Value, json};

use super::{
    CliError,
    args::{CheckArgs, OutputFormat},
    output::Output,
    paint::{Tone, toned},
    plan_file,
    view::text::paragraph,
};
use crate::config::{self, Config, PlanSpec};

/// What a sound file comes to.
enum Checked {
    Config(Box<Config>),
    Plan(Box<PlanSpec>),
}

/// Checks each file that was named; all are looked at before the first is reported.
pub(super) fn check(args: &CheckArgs, output: &mut Output) -> Result<(), CliError> {
    let config = args.config.as_deref().map(|path| (path, check_config(path)));
    let plan = args.plan.as_deref().map(|path| (path, check_plan(path)));
    let (mut failed, mut documents) = (None, Vec::new());
    for (path, result) in [config, plan].into_iter().flatten() {
        match (result, &failed) {
            (Ok(checked), _) if output.format() == OutputFormat::Json => {
                documents.push(document(path, &checked));
            }
            (Ok(checked), _) => output.text(&text(path, &checked))?,
            (Err(error), None) => failed = Some(error),
            (Err(error), Some(_)) => output.note(&error.report()),
        }
    }
    match failed {
        Some(error) => Err(error),
        None if output.format() == OutputFormat::Json => output.json(&json!({ "files": documents })),
        None => Ok(()),
    }
}

fn check_config(path: &Path) -> Result<Checked, CliError> {
    Ok(Checked::Config(Box::new(config::load(path)?)))
}

fn check_plan(path: &Path) -> Result<Checked, CliError> {
    Ok(Checked::Plan(Box::new(plan_file::read(path)?)))
}

fn text(path: &Path, checked: &Checked) -> String {
    let sound = toned(Some(Tone::Good), "no problems");
    match checked {
        Checked::Config(config) => {
            let risks: String = risks::of(config)
                .iter()
                .map(|risk| format!("\n{}", paragraph(&format!("{}: {}", risk.key, risk.text))))
                .collect();
            let risks = match risks.as_str() {
                "" => String::new(),
                _ => format!("\n{}{risks}", toned(Some(Tone::Caution), "WORTH KNOWING")),
            };
            format!("{}: {sound}\n\n{}{risks}", path.display(), explain::config(config))
        }
        Checked::Plan(plan) => {
            let shares: Vec<String> = plan.shift.steps().iter().map(|step| step.share.to_string()).collect();
            let alarms = &plan.alarms;
            let count = alarms.guards.len()
                + alarms.regressions.len()
                + alarms.thresholds.len()
                + alarms.externals.len();
            let alarms = match count {
                0 => "no alarms, so nothing but a person ends it early".to_owned(),
                1 => "1 alarm".to_owned(),
                _ => format!("{count} alarms"),
            };
            let next = "`snapback plan lint ENDPOINT PLAN` says what its alarms can find";
            let (version, shares) = (&plan.green.version, shares.join(", "));
            format!("{}: {sound} (green {version} by {shares}; {alarms}; {next})", path.display())
        }
    }
}

fn document(path: &Path, checked: &Checked) -> Value {
    match checked {
        Checked::Config(config) => {
            let risks: Vec<Value> =
                risks::of(config).iter().map(|risk| json!({ "key": risk.key, "text": risk.text })).collect();
            let explained = explain::document(config);
            json!({ "path": path, "kind": "config", "problems": [], "explained": explained, "risks": risks })
        }
        Checked::Plan(plan) => {
            json!({ "path": path, "kind": "plan", "problems": [], "plan": plan.to_json() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{args::Format, tests::Paper};

    const PLAN: &str = "strategy = { type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }\n\
        [green]\nversion = \"v2\"\ninstances = [\"127.0.0.1:9003\"]\n[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n";

    fn checked(config: &str, plan: &str, output: OutputFormat) -> Result<String, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let (config_path, plan_path) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
        std::fs::write(&config_path, config).unwrap();
        std::fs::write(&plan_path, plan).unwrap();
        let args = CheckArgs { config: Some(config_path), plan: Some(plan_path), format: Format { output } };
        let paper = Paper::default();
        check(&args, &mut Output::new(output, Box::new(paper.clone()), Box::new(std::io::sink())))?;
        Ok(paper.text())
    }

    #[test]
    fn good_files_have_no_problems_and_a_bad_one_is_told_whichever_it_is() {
        let told = checked("", PLAN, OutputFormat::Table).unwrap();
        assert!(told.contains("a.toml: no problems") && told.contains("b.toml: no problems"), "{told}");
        let error = checked("[date]\n", PLAN, OutputFormat::Table).unwrap_err().report();
        assert!(error.contains("a.toml:1: date"), "{error}");
        let error = checked("", "gren = 1\n", OutputFormat::Table).unwrap_err().report();
        assert!(error.contains("b.toml:1: gren"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let format = Format { output: OutputFormat::Table };
        let args = CheckArgs { config: None, plan: Some("nowhere/plan.toml".into()), format };
        let mut output =
            Output::new(OutputFormat::Table, Box::new(std::io::sink()), Box::new(std::io::sink()));
        let error = check(&args, &mut output).unwrap_err().report();
        assert_eq!(error, "error: cannot read nowhere/plan.toml: No such file or directory (os error 2)");
    }

    const CONFIG: &str = "[data]\nlisten = [\"0.0.0.0:8080\"]\n[admin]\nlisten = \"127.0.0.1:9191\"\n\
        [[endpoint]]\nname = \"chat\"\nmatch = { path_prefix = \"/v1/\" }\n\
        blue = { version = \"v1\", instances = [\"127.0.0.1:9001\"] }\nlimits = { total_timeout = \"30s\" }\n";

    #[test]
    fn a_sound_file_is_explained_with_what_listens_where_what_is_set_and_what_is_risky() {
        let told = checked(CONFIG, PLAN, OutputFormat::Table).unwrap();
        for part in [
            "0.0.0.0:8080",
            "127.0.0.1:9191",
            "path /v1/",
            "127.0.0.1:9001",
            "limits.total_timeout = \"30s\"",
            "limits.connect_timeout",
            "WORTH KNOWING",
            "data.listen: ",
            "one instance",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn programs_get_the_same_as_a_document() {
        let told: Value = serde_json::from_str(&checked(CONFIG, PLAN, OutputFormat::Json).unwrap()).unwrap();
        let config = &told["files"][0];
        assert_eq!(config["explained"]["endpoints"][0]["set"]["limits.total_timeout"], "30s");
        assert_eq!(config["explained"]["set"]["admin.listen"], "\"127.0.0.1:9191\"");
        assert!(
            config["risks"].as_array().unwrap().iter().any(|risk| risk["key"] == "data.listen"),
            "{told}"
        );
        assert_eq!(told["files"][1]["plan"]["green"]["version"], "v2");
    }
}
