//! `snapback plan replay`: what a plan would have decided over recorded outcomes.

use std::{io::Read as _, path::Path, thread};

use super::{
    CliError, Exit,
    args::{Connection, OutputFormat, ReplayArgs},
    client::Client,
    output::{
        Column::{Left, Right},
        Output, Table,
    },
    plan_file,
    recording::Download,
    view::text::{count, millis, paragraph, per_second, percent},
};
use crate::{
    admin::wire,
    config::PlanSpec,
    replay::{Aa, Choice, MOST_BYTES, Recording, Splits, Stage, play, play_splits},
};

pub(super) async fn replay(
    connection: &Connection,
    args: &ReplayArgs,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let plan = plan_file::read(&args.plan.plan)?;
    let recording = match &args.recording {
        Some(path) => from_file(path)?,
        None => {
            let endpoint = args.endpoint.as_ref().expect("the grammar wants a file or an endpoint");
            let file = Download::begin(Client::new(connection), endpoint).await?.whole().await?;
            let source = format!("the recording of {endpoint}").into();
            Recording::parse(&file).map_err(|problem| CliError::Recording { path: source, problem })?
        }
    };
    let green = args.green_from.as_deref().map(from_file).transpose()?;
    let choice = Choice { shift: args.shift.as_ref(), green_from: green.as_ref(), against_itself: args.aa };
    let stage = Stage::new(&recording, choice).map_err(CliError::Replay)?;
    let answer = if args.aa {
        let splits = all_splits(&plan, &stage, args);
        let aa = Aa::of(&plan, &stage, splits);
        wire::Replayed { recording: (&recording).into(), replay: None, aa: Some(aa.into()) }
    } else {
        let replay = play(&plan, &stage, args.seed);
        wire::Replayed { recording: (&recording).into(), replay: Some(replay.into()), aa: None }
    };
    match output.format() {
        OutputFormat::Json => {
            output.json(&answer)?;
        }
        OutputFormat::Table => output.text(&text(&plan, &answer))?,
    }
    Ok(exit(&answer))
}

/// Reads and checks a recording.
fn from_file(path: &Path) -> Result<Recording, CliError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX);
    let read = std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    let read = read.and_then(|length| {
        if length > MOST_BYTES {
            Err(std::io::Error::other(format!("it is longer than {MOST_BYTES} bytes")))
        } else {
            Ok(())
        }
    });
    read.map_err(|source| CliError::File { path: path.to_owned(), source })?;
    Recording::parse(&bytes).map_err(|problem| CliError::Recording { path: path.to_owned(), problem })
}

/// The splits on all cores: they know nothing of each other.
fn all_splits(plan: &PlanSpec, stage: &Stage<'_>, args: &ReplayArgs) -> Splits {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let part = |first: usize| {
            let seeds = (0..u64::from(args.splits)).skip(first).step_by(threads);
            let seeds = seeds.map(|number| args.seed.wrapping_add(number));
            scope.spawn(move || play_splits(plan, stage, seeds, || true))
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        let join = |part: thread::ScopedJoinHandle<'_, Splits>| {
            part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        parts.into_iter().map(join).fold(Splits::default(), Splits::plus)
    })
}

fn exit(answer: &wire::Replayed) -> Exit {
    match (&answer.replay, &answer.aa) {
        (Some(replay), _) => match replay.end.state.as_str() {
            "promoted" => Exit::Done,
            "rolled_back" => Exit::RolledBack,
            _ => Exit::StillRunning,
        },
        (None, Some(aa)) if aa.promise == "broken" => Exit::PlanErrors,
        (None, _) => Exit::Done,
    }
}

fn text(plan: &PlanSpec, answer: &wire::Replayed) -> String {
    let wire::PlayedRecording { endpoint, began_at, outcomes, span_ms, remarks } = &answer.recording;
    let of = endpoint.as_deref().map(|endpoint| format!(" of {endpoint}")).unwrap_or_default();
    let since = began_at.as_deref().map(|began| format!(" from {began}")).unwrap_or_default();
    let mut text = paragraph(&format!(
        "Plan to {}, over {} recorded outcomes{of}{since}, {} long.",
        plan.green.version,
        count(*outcomes),
        millis(Some(*span_ms))
    ));
    for remark in remarks {
        text.push_str(&format!("\n{}", paragraph(&format!("note: the recording: {remark}"))));
    }
    text.push('\n');
    if let Some(replay) = &answer.replay {
        text.push_str(&replay_text(replay));
    }
    if let Some(aa) = &answer.aa {
        text.push_str(&aa_text(aa));
    }
    text
}

fn replay_text(replay: &wire::Replay) -> String {
    let assumed =
        replay.assumptions.iter().map(|line| format!("{}\n", paragraph(&format!("assumed: {line}"))));
    let mut text: String = assumed.collect();
    let mut table = Table::new([
        Right("STEP"),
        Right("GREEN"),
        Right("BAKE"),
        Right("FROM"),
        Right("TO"),
        Left("END"),
        Right("RESPONSES"),
        Right("FAILED"),
    ]);
    for step in &replay.steps {
        table.row([
            step.step.to_string(),
            step.share.clone(),
            step.bake.clone(),
            millis(Some(step.began_ms)),
            millis(Some(step.ended_ms)),
            step.end.replace('_', " "),
            count(step.green_responses),
            count(step.green_failures),
        ]);
    }
    text.push_str(&format!("\n{table}"));
    if let Some(last) = replay.steps.last() {
        text.push_str(&format!("\nAlarms at the end of step {}:\n", last.step));
        for alarm in &last.alarms {
            let missing = match alarm.missing_requests {
                0 => String::new(),
                missing => format!("; {} more responses are needed to tell", count(missing)),
            };
            let line = format!("{} {}: {}{missing}", alarm.state.replace('_', " "), alarm.name, alarm.text);
            text.push_str(&format!("{}\n", paragraph(&line)));
        }
    }
    text.push_str(&format!("\n{}\n", paragraph(&end_text(replay))));
    text
}

fn end_text(replay: &wire::Replay) -> String {
    let wire::ReplayEnd { state, at_ms, text, step, line, green_responses, green_failures, .. } = &replay.end;
    let at = millis(Some(*at_ms));
    let requests = format!(
        "{} requests to blue, {} to green{}",
        count(replay.blue_requests),
        count(replay.green_requests),
        match replay.left_out {
            0 => String::new(),
            left_out => format!(", {} left out", count(left_out)),
        }
    );
    match (state.as_str(), step, green_responses, green_failures) {
        ("rolled_back", Some(step), Some(responses), Some(failures)) => {
            let line = line.map(|line| format!(", tipped by line {line}")).unwrap_or_default();
            format!(
                "Rolled back at {at} in step {step}, after {} green responses, {} of them failed{line}: {text}. {requests}.",
                count(*responses),
                count(*failures)
            )
        }
        ("promoted", ..) => format!("Promoted at {at}: {text}. {requests}."),
        _ => format!("Undecided at {at}: {text}. {requests}."),
    }
}

fn aa_text(aa: &wire::Aa) -> String {
    let promise = match aa.promise.as_str() {
        "kept" => "The plan keeps its promise on this traffic",
        "broken" => "The plan does not keep its promise on this traffic",
        _ => "Whether the plan keeps its promise cannot be told from so few splits",
    };
    let mut text = paragraph(&format!(
        "Blue against itself, {} times: guards and regressions were raised in {}, {} (95% interval {} to {}), where the plan promises \
         at most {}. {promise}. {} promoted, {} undecided when the recording was over, {} rolled back by what promises nothing.",
        count(aa.splits.into()),
        count(aa.raised.into()),
        percent(aa.rate),
        percent(aa.rate_low),
        percent(aa.rate_high),
        percent(aa.false_alarm),
        count(aa.promoted.into()),
        count(aa.undecided.into()),
        count(aa.other_rollbacks.into()),
    ));
    text.push('\n');
    for (alarm, raised) in &aa.by_alarm {
        text.push_str(&format!("{}\n", paragraph(&format!("{alarm}: first to roll back in {raised}"))));
    }
    let wire::Behaviour { whole, stretches, burst, drift } = &aa.behaviour;
    let mut table = Table::new([
        Right("FROM"),
        Right("REQ/S"),
        Right("FAILED"),
        Right("CLIENT ERRORS"),
        Right("P50"),
        Right("P90"),
        Right("P99"),
        Right("FIRST TOKEN P50"),
    ]);
    for (name, stretch) in
        std::iter::once((Some("all"), whole)).chain(stretches.iter().map(|part| (None, part)))
    {
        table.row(row(name, stretch));
    }
    text.push_str(&format!("\n{table}\n"));
    let unevenly = format!("Failures come {burst:.1} times as unevenly as single ones would");
    let drifts = drift.map(|drift| format!("; medians differ by a factor of {drift:.2} over the recording"));
    text.push_str(&format!("{}\n", paragraph(&format!("{unevenly}{}.", drifts.unwrap_or_default()))));
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts of 2^53 or more would be off by one")]
fn row(name: Option<&str>, stretch: &wire::Stretch) -> [String; 8] {
    let seconds = stretch.span_ms / 1_000.0;
    let part = |count: u64| percent(count as f64 / (stretch.requests as f64).max(1.0));
    [
        name.map_or_else(|| millis(Some(stretch.from_ms)), str::to_owned),
        per_second(if seconds > 0.0 { stretch.requests as f64 / seconds } else { 0.0 }),
        part(stretch.failures),
        part(stretch.client_errors),
        millis(stretch.p50_ms),
        millis(stretch.p90_ms),
        millis(stretch.p99_ms),
        millis(stretch.first_token_p50_ms),
    ]
}
