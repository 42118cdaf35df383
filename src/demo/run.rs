//! `snapback demo`.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    MODEL_NAME,
    operator::Operator,
    plans::ENDPOINT,
    report::Report,
    show::Style,
    stage::{Stage, StageError},
    story::{Played, Story, StoryError},
};
use crate::cli::args::DemoArgs;

/// Why the demo did not come to a report.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Story(#[from] StoryError),
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Plays the story and reports. Succeeds only if the story really happened. Wants a thread without a runtime.
pub fn run(args: &DemoArgs) -> ExitCode {
    match try_run(args) {
        Ok(report) if report.happened() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("snapback: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &DemoArgs) -> Result<Report, DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stage = Stage::set(args)?;
    let reported = runtime.block_on(async {
        let played = tokio::select! {
            played = play(&stage, args) => played?,
            ended = told_to_end() => return Err(ended.map_or_else(DemoError::from, |()| StoryError::Left.into())),
        };
        let report = Report::of(&played);
        if args.stay {
            print(&report, args.json)?;
            print_things_to_try(&stage, args.json)?;
            told_to_end().await?;
        }
        Ok(report)
    });
    // The runtime holds the operator's connections; they go first, so that the admin port has nothing to wait for.
    drop(runtime);
    stage.strike();
    let report = reported?;
    if !args.stay {
        print(&report, args.json)?;
    }
    Ok(report)
}

async fn play(stage: &Stage, args: &DemoArgs) -> Result<Played, StoryError> {
    let operator = Operator::at(stage.admin_address());
    let story = Story {
        operator: &operator,
        ledger: stage.clients().ledger(),
        good_release: &stage.good_release,
        bad_release: &stage.bad_release,
        style: Style::choose(args.json),
    };
    story.play().await
}

/// Returns on SIGINT or SIGTERM.
async fn told_to_end() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// With `--json`, standard output has the one object and nothing else.
fn print(report: &Report, as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        eprint!("\n{report}");
        let document = serde_json::to_string(report).expect("a report has text keys and no failing parts");
        writeln!(out, "{document}")?;
    } else {
        write!(out, "\n{report}")?;
    }
    out.flush()
}

fn print_things_to_try(stage: &Stage, to_stderr: bool) -> io::Result<()> {
    let text = things_to_try(stage.data_address(), stage.admin_address(), stage.directory());
    if to_stderr {
        io::stderr().lock().write_all(text.as_bytes())
    } else {
        io::stdout().lock().write_all(text.as_bytes())
    }
}

fn things_to_try(data: SocketAddr, admin: SocketAddr, directory: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "snapback".to_owned());
    let plan = directory.join("v3.toml");
    let plan = plan.display();
    format!(
        r#"
Everything stays up, clients go on, and v2 serves. Clients: http://{data}  Operators: http://{admin}
Things to try from another terminal:
  curl -s http://{data}/v1/chat/completions -d '{{"model":"{MODEL_NAME}","messages":[{{"role":"user","content":"How do I cook rice?"}}]}}'
  curl -sN http://{data}/v1/chat/completions -d '{{"model":"{MODEL_NAME}","stream":true,"messages":[{{"role":"user","content":"Tell me about bees."}}]}}'
  export SNAPBACK_ADMIN=http://{admin}
  {program} endpoint show {ENDPOINT}
  {program} shift explain {ENDPOINT}
  {program} shift start {ENDPOINT} {plan} --watch      breaks and snaps back once more
  {program} events --endpoint {ENDPOINT}
  curl -s http://{admin}/metrics | grep '^snapback_'
Ctrl-C ends it.
"#
    )
}
