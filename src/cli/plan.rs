//! `snapback plan`: what a plan can find, before it is run.

use super::{
    CliError, Exit,
    args::{Asked, LintArgs, OutputFormat, PlanCommand},
    client::{Client, ClientError},
    output::{
        Column::{Left, Right},
        Output, Table,
    },
    plan_file, plan_replay,
    view::text::{count, millis, paragraph, per_second, percent},
};
use crate::{
    admin::wire,
    config::PlanSpec,
    lint::{self, Situation},
};

/// Answers a question about a plan.
pub(super) async fn plan(args: Asked<PlanCommand>, output: &mut Output) -> Result<Exit, CliError> {
    let Asked { connection, command } = args;
    let args = match command {
        PlanCommand::Lint(args) => args,
        PlanCommand::Replay(args) => return plan_replay::replay(&connection, &args, output).await,
    };
    let client = Client::new(&connection);
    let plan = plan_file::read(&args.plan.plan)?;
    if args.offline {
        return alone(&args, &plan, output);
    }
    let traffic = args.traffic.map(|rate| format!("&traffic={rate}/s")).unwrap_or_default();
    let path = format!("/v1/endpoints/{}/shifts?dry_run=true{traffic}", args.whose.endpoint);
    let answer = match client.post(&path, Some(plan.to_json())).await {
        Ok(answer) => answer,
        Err(error @ ClientError::Unreachable { .. }) if args.traffic.is_some() => {
            output.note(&format!("{error}: blue's own figures are assumed"));
            return alone(&args, &plan, output);
        }
        Err(error) => return Err(error.into()),
    };
    let shift: wire::Shift = answer.read()?;
    output.answer(&answer, || {
        let table = shift.forecast.as_ref().map(|forecast| forecast_table(&heading(&args, &plan), forecast));
        Ok(format!("{}{}", table.unwrap_or_default(), findings(&shift.findings)))
    })?;
    Ok(exit(&shift.findings))
}

/// From the file alone.
fn alone(args: &LintArgs, plan: &PlanSpec, output: &mut Output) -> Result<Exit, CliError> {
    let lint = wire::Lint::from(lint::lint(plan, &Situation::unknown(args.traffic)));
    match output.format() {
        OutputFormat::Json => {
            output.json(&lint)?;
        }
        OutputFormat::Table => {
            let table = forecast_table(&heading(args, plan), &lint.forecast);
            output.text(&format!("{table}{}", findings(&lint.findings)))?;
        }
    }
    Ok(exit(&lint.findings))
}

fn exit(findings: &[wire::Finding]) -> Exit {
    if findings.iter().any(|finding| finding.severity == "error") { Exit::PlanErrors } else { Exit::Done }
}

fn heading(args: &LintArgs, plan: &PlanSpec) -> String {
    format!("{} to {}", args.whose.endpoint, plan.green.version)
}

fn forecast_table(heading: &str, forecast: &wire::Forecast) -> String {
    let wire::Forecast { traffic, steps } = forecast;
    let mut table = Table::new([
        Right("STEP"),
        Right("GREEN"),
        Right("BAKE"),
        Right("REQUESTS"),
        Left("ALARM"),
        Left("FINDS"),
        Right("FOR"),
        Right("NEEDS"),
        Right("TAKES"),
    ]);
    for step in steps {
        let mut first =
            vec![step.step.to_string(), step.share.clone(), step.bake.clone(), number(step.requests)];
        if step.alarms.is_empty() {
            table.row(first.iter().cloned());
        }
        for alarm in &step.alarms {
            let takes = alarm.needed_ms.map(|time| millis(Some(time)));
            table.row(first.iter().cloned().chain([
                alarm.alarm.clone(),
                alarm.text.clone(),
                alarm.effect_rate.map_or_else(dash, percent),
                number(alarm.needed_requests),
                takes.unwrap_or_else(dash),
            ]));
            first = vec![String::new(); 4];
        }
    }
    format!("{}\n\n{table}", paragraph(&format!("{heading}, {}", assumed(traffic))))
}

/// `at 20/s by the last 3m of traffic, blue failing 0.10%, p99 212ms`
fn assumed(traffic: &wire::ForecastTraffic) -> String {
    let rate = traffic.rate.map(|rate| format!("{} req/s", per_second(rate)));
    let source = match (traffic.origin.as_str(), traffic.span_ms) {
        ("measured", Some(span)) => format!(" over the last {}", millis(Some(span))),
        ("stated", _) => " as stated".to_owned(),
        _ => String::new(),
    };
    let traffic_text =
        rate.map_or_else(|| "without known traffic".to_owned(), |rate| format!("at {rate}{source}"));
    let blue = if traffic.blue_requests == 0 {
        format!("blue assumed to fail {}", percent(traffic.blue_error_rate))
    } else {
        let p99 =
            traffic.blue_p99_ms.map(|p99| format!(", its p99 {}", millis(Some(p99)))).unwrap_or_default();
        format!("blue failing {}{p99}", percent(traffic.blue_error_rate))
    };
    format!(
        "{traffic_text}, {blue}. FINDS is what a bake finds in 95 of 100 cases; FOR is a green five times as bad as permitted."
    )
}

/// Findings a paragraph each, and how many there are of a kind.
pub(super) fn findings(findings: &[wire::Finding]) -> String {
    let of = |severity: &str| findings.iter().filter(|finding| finding.severity == severity).count();
    let lines: String = findings
        .iter()
        .map(|finding| {
            let wire::Finding { severity, place, message, .. } = finding;
            format!("\n{}", paragraph(&format!("{severity}: {place}: {message}")))
        })
        .collect();
    let plural = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    format!("{lines}\n{}, {}\n", plural(of("error"), "error"), plural(of("warning"), "warning"))
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(dash, count)
}

fn dash() -> String {
    "-".to_owned()
}
