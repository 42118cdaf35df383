//! `snapback shift ...`: starting, steering and explaining shifts.

use std::num::NonZeroUsize;

use super::{
    CliError, Exit,
    args::{
        Asked, Because, DryRun, IfRunning, OneEndpoint, Order, OutputFormat, PlanFile, ShiftCommand,
        ShiftRef, WaitArgs,
    },
    client::{Answer, Client},
    follow,
    output::Output,
    plan_file,
    queued::{self, Turn},
    report, shift_list, view, watch,
};
use crate::{admin::wire, clock, config::PlanSpec, name::ShiftId};

/// Carries out a command about a shift.
pub(super) async fn shift(args: Asked<ShiftCommand>, output: &mut Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection);
    match args.command {
        ShiftCommand::Start {
            whose,
            plan,
            dry_run,
            ignored_alarms,
            if_running,
            start_at,
            because,
            watch,
            wait,
        } => {
            let client = client.because(&because.reason);
            let PlanFile { plan } = plan;
            // Checked here first: these problems name the file's lines, which a server that gets JSON cannot.
            let mut plan = plan_file::read_ignoring(&plan, &ignored_alarms)?;
            plan.schedule.start_at = start_at.or(plan.schedule.start_at);
            let answer = start(&client, &whose, plan, dry_run, if_running).await?;
            let watched = if watch { Watched::Watch } else { Watched::Wait(wait) };
            match answer.read()? {
                wire::Submitted::Begun(shift) if watch || wait.wait => {
                    follow_started(client, &shift, watched, output).await
                }
                wire::Submitted::Begun(shift) => {
                    output.answer(&answer, || Ok(report::started(&shift)))?;
                    Ok(Exit::Done)
                }
                wire::Submitted::Queued(queued) if queued.id.is_some() && (watch || wait.wait) => {
                    output.note(&queued_line(&queued));
                    match queued::until_begun(&client, &queued, wait.timeout, output).await? {
                        Turn::Begun(shift) => follow_started(client, &shift, watched, output).await,
                        Turn::Gone => Ok(Exit::Dropped),
                        Turn::NotYet => Ok(Exit::StillRunning),
                    }
                }
                wire::Submitted::Queued(queued) => print_queued(&queued, &answer, output),
            }
        }
        ShiftCommand::List(args) => {
            shift_list::list(&client, args, output).await?;
            Ok(Exit::Done)
        }
        ShiftCommand::Status { shift, wait } => status(client, &shift, wait, output).await,
        ShiftCommand::Watch { shift } => {
            let (shift, _) = find(&client, &shift).await?;
            watch::watch(client, &id_of(&shift)?, output).await
        }
        ShiftCommand::Explain { shift } => {
            let (shift, answer) = find(&client, &shift).await?;
            output.answer(&answer, || Ok(report::explanation(&shift, clock::wall())))?;
            Ok(Exit::Done)
        }
        ShiftCommand::Pause(order) => command(&client, "pause", order, output).await,
        ShiftCommand::Resume(order) => command(&client, "resume", order, output).await,
        ShiftCommand::Promote { order, bake: false } => command(&client, "promote", order, output).await,
        ShiftCommand::Promote { order, bake: true } => skip_bake(&client, order, output).await,
        ShiftCommand::Cancel { id, because: Because { reason } } => {
            let answer = client.because(&reason).delete(&format!("/v1/shifts/{id}")).await?;
            output.answer(&answer, || {
                let queued: wire::Queued = answer.read()?;
                let id = queued.id.unwrap_or_default();
                Ok(format!("{id} will not begin: {} stays as it is", queued.endpoint))
            })?;
            Ok(Exit::Done)
        }
        ShiftCommand::Abort(order) => command(&client, "abort", order, output).await,
    }
}

/// Where a shift is, also one that waits for its turn.
async fn status(
    client: Client,
    which: &ShiftRef,
    wait: WaitArgs,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let unknown = match find(&client, which).await {
        Ok((shift, _)) if wait.wait => {
            return follow::wait(client, &id_of(&shift)?, wait.timeout, output).await;
        }
        Ok((shift, answer)) => {
            output.answer(&answer, || Ok(report::status(&shift, clock::wall())))?;
            return Ok(Exit::Done);
        }
        Err(error @ CliError::NoSuchName { .. }) => error,
        Err(error) => return Err(error),
    };
    let Some(queued) = queued::of_id(&client, which.id_or_endpoint.as_str()).await? else {
        return Err(unknown);
    };
    if !wait.wait {
        match output.format() {
            OutputFormat::Json => output.json(&queued)?,
            OutputFormat::Table => output.text(&queued_line(&queued))?,
        }
        return Ok(Exit::Done);
    }
    output.note(&queued_line(&queued));
    match queued::until_begun(&client, &queued, wait.timeout, output).await? {
        Turn::Begun(shift) => follow::wait(client, &id_of(&shift)?, wait.timeout, output).await,
        Turn::Gone => Ok(Exit::Dropped),
        Turn::NotYet => Ok(Exit::StillRunning),
    }
}

async fn start(
    client: &Client,
    OneEndpoint { endpoint }: &OneEndpoint,
    plan: PlanSpec,
    DryRun { dry_run }: DryRun,
    if_running: Option<IfRunning>,
) -> Result<Answer, CliError> {
    let parameters = dry_run.then(|| "dry_run=true".to_owned()).into_iter();
    let parameters = parameters.chain(if_running.map(|IfRunning(word)| format!("if_running={word}")));
    let query = parameters.collect::<Vec<_>>().join("&");
    let query = if query.is_empty() { query } else { format!("?{query}") };
    Ok(client.post(&format!("/v1/endpoints/{endpoint}/shifts{query}"), Some(plan.to_json())).await?)
}

fn print_queued(queued: &wire::Queued, answer: &Answer, output: &mut Output) -> Result<Exit, CliError> {
    output.answer(answer, || Ok(queued_line(queued)))?;
    Ok(if queued.id.is_some() { Exit::StillRunning } else { Exit::Done })
}

/// A shift that waits, in a line.
pub(super) fn queued_line(queued: &wire::Queued) -> String {
    let wire::Queued { id, place, green_version, actor, waits_for, .. } = queued;
    let id = id.as_deref().unwrap_or("dry run");
    format!("{id}: number {place} in the queue, to {green_version} by {actor}; waits for {waits_for}")
}

async fn follow_started(
    client: Client,
    started: &wire::Shift,
    watched: Watched,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let id = id_of(started)?;
    output.note(&format!("shift {id} started"));
    match watched {
        Watched::Wait(wait) => follow::wait(client, &id, wait.timeout, output).await,
        Watched::Watch => watch::watch(client, &id, output).await,
    }
}

/// What is done after a start.
enum Watched {
    Wait(WaitArgs),
    Watch,
}

async fn command(client: &Client, verb: &str, order: Order, output: &mut Output) -> Result<Exit, CliError> {
    let (shift, _) = find(client, &order.shift).await?;
    let answer = post_command(client, &id_of(&shift)?, verb, order.because.reason).await?;
    print_after(&answer, output)
}

/// Names the step that the shift is in now, so that no other bake is skipped.
async fn skip_bake(client: &Client, order: Order, output: &mut Output) -> Result<Exit, CliError> {
    let (shift, _) = find(client, &order.shift).await?;
    let step = shift.step.and_then(NonZeroUsize::new);
    let body = wire::PromoteBody { reason: order.because.reason, actor: None, skip: wire::Skip::Bake, step };
    let body = serde_json::to_value(body).expect("texts and numbers are JSON");
    let answer = client.post(&format!("/v1/shifts/{}/promote", id_of(&shift)?), Some(body)).await?;
    print_after(&answer, output)
}

/// The shift after a command.
fn print_after(answer: &Answer, output: &mut Output) -> Result<Exit, CliError> {
    output.answer(answer, || {
        let shift: wire::Shift = answer.read()?;
        Ok(if shift.over { view::outcome(&shift) } else { view::line(&shift) })
    })?;
    Ok(Exit::Done)
}

/// Sends a command to a shift.
pub(super) async fn post_command(
    client: &Client,
    id: &ShiftId,
    verb: &str,
    reason: String,
) -> Result<Answer, CliError> {
    let body = serde_json::to_value(wire::CommandBody { reason, actor: None }).expect("texts are JSON");
    Ok(client.post(&format!("/v1/shifts/{id}/{verb}"), Some(body)).await?)
}

/// The shift of this id, or the endpoint's running or else newest one.
async fn find(
    client: &Client,
    ShiftRef { id_or_endpoint: name }: &ShiftRef,
) -> Result<(wire::Shift, Answer), CliError> {
    match client.get(&format!("/v1/shifts/{name}")).await {
        Ok(answer) => return Ok((answer.read()?, answer)),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    let answer = match client.get(&format!("/v1/endpoints/{name}/shifts")).await {
        Ok(answer) => answer,
        Err(error) if error.is_not_found() => {
            return Err(CliError::NoSuchName { name: name.to_string(), detail: error.to_string() });
        }
        Err(error) => return Err(error.into()),
    };
    let wire::Shifts { shifts } = answer.read()?;
    let chosen = shifts.iter().find(|shift| !shift.over).or(shifts.first());
    let id = id_of(chosen.ok_or_else(|| CliError::NoShiftYet(name.to_string()))?)?;
    // Asked for once more by itself, so that the document printed is the one that this id has.
    let answer = client.get(&format!("/v1/shifts/{id}")).await?;
    Ok((answer.read()?, answer))
}

/// A started shift's id, checked before it goes into a path.
pub(super) fn id_of(shift: &wire::Shift) -> Result<ShiftId, CliError> {
    let id = shift.id.as_deref().ok_or(CliError::NoId)?;
    ShiftId::parse(id).map_err(|_| CliError::NoId)
}
