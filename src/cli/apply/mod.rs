//! `snapback apply`: makes the endpoints what files say, shows the difference first, and changes nothing the second time.

mod decide;
mod files;
mod told;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::{
    CliError, Exit,
    args::{ApplyArgs, OutputFormat},
    client::{Answer, Client, ClientError},
    follow,
    output::Output,
    shift::id_of,
};
use crate::admin::wire;
use decide::{Again, Present, Step};
use files::Desired;
use told::{Outcome, Plan};

/// Applies files, or shows what that would do.
pub(super) async fn apply(args: ApplyArgs, output: &mut Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection).because(&args.because.reason);
    let desired = files::read(&args.path)?;
    let mut plans = plans(&client, desired, &args).await?;
    for plan in &mut plans {
        check(&client, plan).await?;
    }
    let changes = plans.iter().any(Plan::changes);
    if output.format() == OutputFormat::Table {
        output.text(&told::difference(&plans))?;
    }
    if changes && !args.dry_run {
        if !args.yes && !is_agreed(output)? {
            output.note("nothing was changed");
            return Ok(Exit::Dropped);
        }
        for plan in &mut plans {
            carry_out(&client, plan, output).await?;
        }
    }
    let waited = if args.wait.wait { wait(&client, &mut plans, &args, output).await? } else { Exit::Done };
    if output.format() == OutputFormat::Json {
        output.json(&told::document(&plans, args.dry_run))?;
    } else if !args.dry_run && changes {
        output.text(&told::summary(&plans))?;
    }
    Ok(exit(&plans, waited, changes && args.detailed_exitcode))
}

/// What is to be done for each endpoint of the files, then for those that are in none.
async fn plans(client: &Client, desired: Vec<Desired>, args: &ApplyArgs) -> Result<Vec<Plan>, CliError> {
    let wire::Endpoints { endpoints } = client.get("/v1/endpoints").await?.read()?;
    let again = if args.retry { Again::Yes } else { Again::No };
    let superfluous: Vec<String> = endpoints
        .iter()
        .filter(|endpoint| args.prune && endpoint.origin == "api")
        .map(|endpoint| endpoint.name.clone())
        .filter(|name| desired.iter().all(|desired| desired.spec.name.as_str() != name))
        .collect();
    let mut plans = Vec::new();
    for desired in desired {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.name == desired.spec.name.as_str());
        let present = match endpoint {
            None => None,
            Some(endpoint) => {
                let newest = newest(client, endpoint, &desired).await?;
                Some(Present { endpoint: endpoint.clone(), newest })
            }
        };
        let steps = decide::steps(&desired, present.as_ref(), again);
        plans.push(Plan::of(desired, steps));
    }
    plans.extend(superfluous.into_iter().map(Plan::superfluous));
    Ok(plans)
}

/// The running or else newest shift; asked for only where it matters.
async fn newest(
    client: &Client,
    endpoint: &wire::Endpoint,
    desired: &Desired,
) -> Result<Option<wire::Shift>, CliError> {
    if endpoint.blue.version == desired.spec.blue.version.as_str() {
        return Ok(None);
    }
    let wire::Shifts { shifts } =
        client.get(&format!("/v1/endpoints/{}/shifts", endpoint.name)).await?.read()?;
    let running = shifts.iter().find(|shift| !shift.over).cloned();
    Ok(running.or_else(|| shifts.into_iter().next()))
}

/// Has the server look at every change before the first one is made.
async fn check(client: &Client, plan: &mut Plan) -> Result<(), CliError> {
    for step in plan.steps.clone() {
        let checked = send(client, plan, &step, "?dry_run=true").await;
        plan.keep(checked)?;
    }
    if plan.is_superfluous() && plan.outcome == Outcome::Open {
        let checked = client.delete(&format!("/v1/endpoints/{}?dry_run=true", plan.name)).await;
        plan.keep(checked.map(|_| None))?;
    }
    Ok(())
}

async fn carry_out(client: &Client, plan: &mut Plan, output: &mut Output) -> Result<(), CliError> {
    if plan.outcome != Outcome::Open {
        return Ok(());
    }
    for step in plan.steps.clone() {
        let sent = send(client, plan, &step, "").await;
        let answer = plan.keep(sent)?;
        if plan.outcome != Outcome::Open {
            return Ok(());
        }
        if let (Step::Shift { .. }, Some(answer)) = (&step, answer) {
            plan.shift = match answer.read()? {
                wire::Submitted::Begun(shift) => shift.id,
                wire::Submitted::Queued(queued) => queued.id,
            };
            output.note(&format!(
                "{}: shift {} started",
                plan.name,
                plan.shift.as_deref().unwrap_or_default()
            ));
        }
    }
    if plan.is_superfluous() {
        let deleted = client.delete(&format!("/v1/endpoints/{}", plan.name)).await;
        plan.keep(deleted.map(|_| None))?;
    }
    if plan.outcome == Outcome::Open && plan.changes() {
        plan.outcome = Outcome::Changed;
    }
    Ok(())
}

/// The request of a step; none for a step that leaves things as they are.
async fn send(client: &Client, plan: &Plan, step: &Step, query: &str) -> Result<Option<Answer>, ClientError> {
    let (Some(desired), name) = (&plan.desired, &plan.name) else { return Ok(None) };
    let path = format!("/v1/endpoints/{name}{query}");
    match step {
        Step::Create => client.put(&path, &desired.spec.to_json()).await.map(Some),
        Step::Update { document, .. } | Step::Replace { document, .. } => {
            client.put(&path, document).await.map(Some)
        }
        Step::Shift { .. } => {
            let body = desired.plan.as_ref().map(crate::config::PlanSpec::to_json);
            client.post(&format!("/v1/endpoints/{name}/shifts{query}"), body).await.map(Some)
        }
        Step::Underway { .. } | Step::WentBack { .. } | Step::NeedsPlan { .. } => Ok(None),
    }
}

/// Waits for the shifts one after the other: they run side by side.
async fn wait(
    client: &Client,
    plans: &mut [Plan],
    args: &ApplyArgs,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let mut worst = Exit::Done;
    for plan in plans {
        let Some(id) = plan.shift.clone() else { continue };
        let shift: wire::Shift = client.get(&format!("/v1/shifts/{id}")).await?.read()?;
        let ended = follow::until_over(client.clone(), &id_of(&shift)?, args.wait.timeout, output).await?;
        let exit = ended.as_deref().map_or(Exit::StillRunning, Exit::of);
        plan.outcome = match exit {
            Exit::Done => Outcome::Changed,
            Exit::StillRunning => Outcome::StillRunning,
            Exit::RolledBack | Exit::Dropped | Exit::PlanErrors | Exit::Broken | Exit::Changed => {
                Outcome::Failed
            }
        };
        plan.note = ended.map(|shift| shift.explanation).or_else(|| plan.note.take());
        if worst != Exit::RolledBack && exit != Exit::Done {
            worst = exit;
        }
    }
    Ok(worst)
}

/// Asks on a terminal; elsewhere nobody can answer.
fn is_agreed(output: &mut Output) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() || output.format() == OutputFormat::Json {
        return Err(CliError::NotAgreed);
    }
    let failed = |source| CliError::Terminal(source);
    let mut stderr = io::stderr();
    write!(stderr, "Apply this? Only yes is one: ").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim() == "yes")
}

fn exit(plans: &[Plan], waited: Exit, tells_changes: bool) -> Exit {
    let has_failed = plans.iter().any(|plan| plan.outcome == Outcome::Failed);
    match (has_failed, waited) {
        (true, _) => Exit::RolledBack,
        (false, Exit::Done) if tells_changes => Exit::Changed,
        (false, waited) => waited,
    }
}
