//! Completing what is typed: names are asked of the admin port, within a moment.

use std::{ffi::OsStr, time::Duration};

use clap::Parser as _;
use clap_complete::engine::CompletionCandidate;
use tokio::time::timeout;

use super::{
    Args, Command,
    client::{Client, ClientError},
};
use crate::admin::wire;

/// The variable by which a shell's script asks for completions. Its own, so that no other program's setting is taken for it.
pub(super) const VARIABLE: &str = "SNAPBACK_COMPLETE";

/// Whoever pressed a key waits for this long at most.
const PATIENCE: Duration = Duration::from_millis(400);

/// Endpoints that begin like this.
pub(in crate::cli) fn endpoints(begun: &OsStr) -> Vec<CompletionCandidate> {
    let names = |endpoint: wire::Endpoint| vec![(endpoint.name, format!("{} serves", endpoint.blue.version))];
    candidates(begun, names)
}

/// Endpoints and running shifts that begin like this.
pub(in crate::cli) fn shifts(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, |endpoint| {
        let shift = endpoint.running_shift.map(|id| (id, format!("the running shift of {}", endpoint.name)));
        [(endpoint.name, format!("{} serves", endpoint.blue.version))].into_iter().chain(shift).collect()
    })
}

/// Shifts that wait for their turn and begin like this.
pub(in crate::cli) fn queued(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, |endpoint| {
        let waiting = endpoint.queue.into_iter();
        waiting.filter_map(|queued| Some((queued.id?, format!("waits for {}", queued.waits_for)))).collect()
    })
}

/// None where the admin port is not in reach: a key press is no place for an error.
fn candidates(
    begun: &OsStr,
    names: impl Fn(wire::Endpoint) -> Vec<(String, String)>,
) -> Vec<CompletionCandidate> {
    let (Some(begun), Some(endpoints)) = (begun.to_str(), ask()) else { return Vec::new() };
    let all = endpoints.into_iter().flat_map(names);
    all.filter(|(name, _)| name.starts_with(begun))
        .map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into())))
        .collect()
}

/// The admin port is the one of the environment: what else stands in the line is not known here.
fn ask() -> Option<Vec<wire::Endpoint>> {
    let Command::Client(command) = Args::try_parse_from(["snapback", "endpoint", "list"]).ok()?.command
    else {
        return None;
    };
    let client = Client::new(command.connection()?);
    let asked = async {
        let answer = timeout(PATIENCE, client.get("/v1/endpoints")).await;
        Ok(answer.ok().map(|answer| answer.and_then(|answer| answer.read::<wire::Endpoints>())))
    };
    let answer: Option<Result<wire::Endpoints, ClientError>> = super::block_on(asked).ok()?;
    answer?.ok().map(|answer| answer.endpoints)
}
