//! `/v1/endpoints/{name}/recording` and `/v1/endpoints/{name}/replay`

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::header;
use serde::Deserialize;

use super::{
    extract::{Document, EndpointPath, Nothing, Parameters},
    problem::Fault,
    state::Port,
    wire,
};
use crate::{
    clock,
    config::PlanSpec,
    name::{EndpointName, ShiftId},
    replay::{Aa, Choice, Recording, Stage, play, play_splits},
};

/// Media type of the file (<https://github.com/ndjson/ndjson-spec>).
const NDJSON: &str = "application/x-ndjson";

/// Lines that are made at a time: some tens of kilobytes, so that a large recording is never in memory as text.
const LINES: usize = 256;

/// How long a replay may compute, less than the port's own limit for an answer. Blue against itself is then played less often.
const PATIENCE: Duration = Duration::from_secs(6);

/// How often blue is played against itself unless the caller says so; the command, which has the machine for itself, plays more.
const SPLITS: u32 = 200;
const MOST_SPLITS: u32 = 10_000;

/// The query of a replay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Play {
    #[serde(default)]
    aa: bool,
    splits: Option<u32>,
    #[serde(default)]
    seed: u64,
    shift: Option<String>,
}

/// Tells a computation that nobody waits for its result any more.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn export(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Response, Fault> {
    let place = port.streams.clone().try_acquire_owned().map_err(|_| Fault::Overloaded)?;
    let recording = recorded(&port, &name).await?;
    let lines = stream::unfold((recording, Some(0), place), |(recording, from, place)| async move {
        let from = from?;
        let (text, next) = recording.text(from, LINES);
        Some((Ok::<_, Infallible>(text), (recording, next, place)))
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
}

pub(super) async fn replay(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(asked): Parameters<Play>,
    Document(document): Document,
) -> Result<Json<wire::Replayed>, Fault> {
    let plan = PlanSpec::from_json(&document)?;
    let Play { aa, splits, seed, shift } = asked;
    let splits = match (aa, splits) {
        (true, splits @ (None | Some(1..=MOST_SPLITS))) => Some(splits.unwrap_or(SPLITS)),
        (true, Some(_)) => return Err(Fault::Query(format!("splits is from 1 to {MOST_SPLITS}"))),
        (false, None) => None,
        (false, Some(_)) => return Err(Fault::Query("splits are what aa plays: add aa=true".to_owned())),
    };
    let shift = shift.map(|shift| ShiftId::parse(&shift)).transpose()?;
    let recording = recorded(&port, &name).await?;
    let _place = port.replays.clone().try_acquire_owned().map_err(|_| Fault::Overloaded)?;
    let stop = Arc::new(AtomicBool::new(false));
    let _abandoned = Abandoned(Arc::clone(&stop));
    let answer = tokio::task::spawn_blocking(move || {
        let choice = Choice { shift: shift.as_ref(), against_itself: splits.is_some(), green_from: None };
        let stage = Stage::new(&recording, choice).map_err(|error| Fault::Replay(error.to_string()))?;
        let began = clock::now();
        let goes_on = || !stop.load(Ordering::Relaxed) && clock::now().since(began) < PATIENCE;
        let against_itself = splits.map(|splits| {
            let seeds = (0..u64::from(splits)).map(|number| seed.wrapping_add(number));
            Aa::of(&plan, &stage, play_splits(&plan, &stage, seeds, goes_on)).into()
        });
        let replay = against_itself.is_none().then(|| play(&plan, &stage, seed).into());
        Ok(wire::Replayed { recording: (&*recording).into(), replay, aa: against_itself })
    });
    answer.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())).map(Json)
}

async fn recorded(port: &Port, name: &EndpointName) -> Result<Arc<Recording>, Fault> {
    let (recorder, dealing) = port.handle.recorder(name).await?;
    let recorder = recorder.ok_or_else(|| Fault::NotRecorded(name.clone()))?;
    let endpoint = name.to_string();
    let read = move || {
        let recorded = recorder.read();
        let began = recorded.records.first().map(|(record, _)| clock::wall_of(record.dealt_at).to_string());
        Arc::new(Recording::of(recorded, &endpoint, began, dealing))
    };
    let read = tokio::task::spawn_blocking(read).await;
    Ok(read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
}
