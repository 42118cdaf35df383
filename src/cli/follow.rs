//! Following a shift to its end: what `--wait`, line mode and the live view have in common.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};

use super::{
    CliError, Exit,
    client::{Answer, Client, ClientError},
    output::Output,
    paint::{Tone, toned},
    progress::{Place, Progress},
    view::{self, text},
};
use crate::{admin::wire, clock, name::ShiftId};

/// Fast enough that a picture feels live; an admin port answers this thousands of times a second.
pub(super) const POLL: Duration = Duration::from_millis(200);

/// The longest pause between tries while the admin port is away.
const BACK_OFF_LIMIT: Duration = Duration::from_secs(2);

/// How long an admin port may be away before following ends: longer than a restart with a full drain takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// In line mode, how long nothing is said while nothing changes.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What following a shift yields.
#[derive(Debug)]
pub(super) enum Sighting {
    /// The shift now.
    Seen(Box<wire::Shift>, Answer),
    /// The admin port is away; it is tried again.
    Lost,
    /// It stayed away, or said something final.
    Failed(CliError),
}

/// Polls a shift until it is over or the receiver is dropped. The channel holds one sighting: a slow reader slows the polling.
pub(super) fn follow(client: Client, id: &ShiftId) -> mpsc::Receiver<Sighting> {
    let (sender, receiver) = mpsc::channel(1);
    let path = format!("/v1/shifts/{id}");
    tokio::spawn(async move {
        let mut pace = interval(POLL);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = Retry::new();
        loop {
            pace.tick().await;
            let answer = client.get(&path).await;
            let seen = answer.and_then(|answer| Ok((Box::new(answer.read::<wire::Shift>()?), answer)));
            let (sighting, pause, is_last) = match seen {
                Ok((shift, answer)) => {
                    retry = Retry::new();
                    let is_over = shift.over;
                    (Sighting::Seen(shift, answer), Duration::ZERO, is_over)
                }
                Err(error) => match retry.after(error) {
                    Ok(pause) => (Sighting::Lost, pause, false),
                    Err(error) => (Sighting::Failed(error), Duration::ZERO, true),
                },
            };
            if sender.send(sighting).await.is_err() || is_last {
                return;
            }
            sleep(pause).await;
        }
    });
    receiver
}

/// When to try again after failures in a row, and when to give up.
#[derive(Debug)]
pub(super) struct Retry {
    first_failure: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// No failure yet.
    pub(super) fn new() -> Self {
        Self { first_failure: None, pause: POLL }
    }

    /// How long to pause after this failure; the failure itself when trying again is of no use any more.
    pub(super) fn after(&mut self, error: ClientError) -> Result<Duration, CliError> {
        let lost_for = self.first_failure.get_or_insert_with(Instant::now).elapsed();
        if !error.is_passing() {
            return Err(error.into());
        }
        if lost_for >= PATIENCE {
            return Err(CliError::GaveUp { seconds: lost_for.as_secs(), source: error });
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(BACK_OFF_LIMIT);
        Ok(pause)
    }
}

/// What waiting for the end came to.
enum Waited {
    Over(Box<wire::Shift>, Answer),
    /// The time was up; the last sighting, if there was one.
    NotYet(Option<(Box<wire::Shift>, Answer)>),
}

/// Waits for the end, or until the time is up; then prints how it ended. What happens meanwhile is told beside the output.
pub(super) async fn wait(
    client: Client,
    id: &ShiftId,
    limit: Option<Duration>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match until(client, id, limit, output).await? {
        Waited::Over(shift, answer) => {
            print_end(&shift, &answer, output)?;
            return Ok(Exit::of(&shift));
        }
        Waited::NotYet(Some((shift, answer))) => {
            output
                .answer(&answer, || Ok(format!("still running at the deadline: {}", view::line(&shift))))?;
        }
        Waited::NotYet(None) => output.note("the deadline passed before the admin port answered"),
    }
    Ok(Exit::StillRunning)
}

/// The same without a word at the end: the shift that is over, or `None` when the time was up.
pub(super) async fn until_over(
    client: Client,
    id: &ShiftId,
    limit: Option<Duration>,
    output: &mut Output,
) -> Result<Option<Box<wire::Shift>>, CliError> {
    match until(client, id, limit, output).await? {
        Waited::Over(shift, _) => Ok(Some(shift)),
        Waited::NotYet(_) => Ok(None),
    }
}

async fn until(
    client: Client,
    id: &ShiftId,
    limit: Option<Duration>,
    output: &mut Output,
) -> Result<Waited, CliError> {
    // Beyond the clock's end there is no deadline.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut sightings = follow(client, id);
    let (mut last, mut progress) = (None, Progress::default());
    loop {
        let sighting = match deadline {
            Some(deadline) => timeout_at(deadline, sightings.recv()).await,
            None => Ok(sightings.recv().await),
        };
        match sighting {
            Ok(Some(Sighting::Seen(shift, answer))) if shift.over => return Ok(Waited::Over(shift, answer)),
            Ok(Some(Sighting::Seen(shift, answer))) => {
                progress.see(&shift, output);
                last = Some((shift, answer));
            }
            Ok(Some(Sighting::Lost)) => progress.lose(output),
            Ok(Some(Sighting::Failed(error))) => return Err(error),
            Ok(None) | Err(_) => return Ok(Waited::NotYet(last)),
        }
    }
}

/// Line mode: a line whenever the state, the step or the share changes, and every few seconds; the outcome at the end.
pub(super) async fn lines(client: Client, id: &ShiftId, output: &mut Output) -> Result<Exit, CliError> {
    let mut sightings = follow(client, id);
    let mut said: Option<(Instant, Place)> = None;
    let mut is_lost = false;
    while let Some(sighting) = sightings.recv().await {
        let (shift, answer) = match sighting {
            Sighting::Seen(shift, answer) => (shift, answer),
            Sighting::Failed(error) => return Err(error),
            Sighting::Lost => {
                if !std::mem::replace(&mut is_lost, true) {
                    output.note("the admin port does not answer; trying again");
                }
                continue;
            }
        };
        if std::mem::take(&mut is_lost) {
            output.note("the admin port answers again");
        }
        if shift.over {
            print_end(&shift, &answer, output)?;
            return Ok(Exit::of(&shift));
        }
        let place = Place::of(&shift);
        let is_news = said.as_ref().is_none_or(|(at, before)| *before != place || at.elapsed() >= LINE_EVERY);
        if is_news {
            said = Some((Instant::now(), place));
            output.answer(&answer, || Ok(timed(&shift)))?;
        }
    }
    Ok(Exit::StillRunning)
}

/// `   47s  chat v1 -> v2 baking, ...`
fn timed(shift: &wire::Shift) -> String {
    let elapsed =
        text::moment(&shift.started_at).map(|start| text::span(text::seconds_between(start, clock::wall())));
    format!("{}  {}", text::right(&elapsed.unwrap_or_default(), 6), view::line(shift))
}

/// How it ended, for people; the document for programs.
pub(super) fn print_end(shift: &wire::Shift, answer: &Answer, output: &mut Output) -> Result<(), CliError> {
    output.answer(answer, || {
        let told = view::outcome(shift);
        let (headline, rest) = told.split_once('\n').unwrap_or((&told, ""));
        let tone = Tone::of_state(&shift.state.replace('_', " "));
        Ok(format!("{}\n{rest}", toned(tone, headline)))
    })
}
