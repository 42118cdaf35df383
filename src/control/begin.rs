//! Accepting a shift: the checks that need more than its document, and its identity.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::{
    ControlError, Lineage,
    awaited::Awaited,
    endpoint::{Endpoint, Links},
    owed::Owed,
    run::{Earlier, Rollback, Run},
    series::{Totals, Track},
    variants,
};
use crate::{
    config::{PlanSpec, Problem, Problems},
    fleet::FleetSpec,
    meter::Reading,
    name::{EndpointName, FleetId, ShiftId},
    route::Signals,
    shift::{Count, Shift, Sizes},
    store::{Journal, Moments, StoreError},
    time::WallTime,
};

/// The id in the view of a shift that was only checked.
const DRY_RUN: &str = "dry-run";

/// The characters of an id that come from its endpoint's name; with a dash and ten characters of time it stays within the limit of 63.
const PREFIX: usize = 40;

/// Base 32 in the order of ASCII, so that ids sort by time (Crockford's alphabet in lower case).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Digits of an id's time: 50 bits of milliseconds last beyond the year 30000.
const TIME_DIGITS: u32 = 10;

/// Refuses what cannot be carried out on this endpoint as it stands.
pub(super) fn check(endpoint: &Endpoint, plan: &PlanSpec) -> Result<(), ControlError> {
    if let Some(run) = &endpoint.run {
        return Err(ControlError::ShiftRunning { endpoint: run.endpoint.clone(), running: run.id.clone() });
    }
    if let Some(why) = endpoint.frozen() {
        return Err(ControlError::Frozen { why });
    }
    let problem = endpoint.being_replaced().or_else(|| same_instances(endpoint, plan));
    match problem.or_else(|| unread_tokens(endpoint, plan)) {
        Some(problem) => Err(Problems { source: "plan".to_owned(), problems: vec![problem] }.into()),
        None => Ok(()),
    }
}

/// The plan for the fleets as they are: green's variants stand in the order of blue's, and a rolling one knows how large both are.
pub(super) fn fitted(endpoint: &Endpoint, plan: PlanSpec) -> Result<PlanSpec, ControlError> {
    let serving = &endpoint.record.serving;
    let problem = |key: &str, message: String| {
        let problem = Problem { key: key.to_owned(), line: None, message };
        ControlError::from(Problems { source: "plan".to_owned(), problems: vec![problem] })
    };
    let green =
        variants::fitted(serving, plan.green).map_err(|message| problem("green.variants", message))?;
    let plan = PlanSpec { green, ..plan };
    let Some(rolling) = plan.shift.rolling() else { return Ok(plan) };
    if !plan.green.variants.is_empty() {
        let message = "\"rolling\" brings green in batches of one list of instances, and these are in variants, of which a batch may hold \
                       a part of one and none of another: use \"linear\" or \"canary\", which move all variants by the same share";
        return Err(problem("strategy.type", message.to_owned()));
    }
    let is_counted_elsewhere =
        |spec: &FleetSpec| spec.provider.as_ref().is_some_and(|provider| provider.is_counted_elsewhere());
    if is_counted_elsewhere(serving) || is_counted_elsewhere(&plan.green) {
        let message = "\"rolling\" orders instances batch by batch, and those of a name are whoever answers for it to make and to end: use \
                       \"canary\", \"linear\", \"steps\" or \"all_at_once\"";
        return Err(problem("strategy.type", message.to_owned()));
    }
    if endpoint.record.rest.is_some() {
        let message = "the fleet in service is what a rollback that failed has left of two, which only a whole fleet can take the place \
                       of: use \"canary\", \"linear\", \"steps\" or \"all_at_once\"";
        return Err(problem("strategy.type", message.to_owned()));
    }
    let named = |spec: &FleetSpec| u32::try_from(spec.instances.len()).ok();
    let blue = if serving.provider.is_some() { Some(endpoint.count()) } else { named(serving) };
    let green = match &plan.green.provider {
        Some(provider) => provider.count().map(NonZeroU32::get).or(blue),
        None => named(&plan.green),
    };
    let size = |count: Option<u32>| count.and_then(NonZeroU32::new);
    let (Some(blue), Some(green)) = (size(blue), size(green)) else {
        let message = "\"rolling\" replaces the instances of the fleet in service one batch after the other, and it has none";
        return Err(problem("strategy.type", message.to_owned()));
    };
    if rolling.rollback_batch.is_some() && serving.provider.is_some() && plan.green.provider.is_none() {
        let message = "a provider makes blue's instances and those of green are named, so a rollback that fails between two batches would \
                       leave no fleet of one kind: leave rollback_batch out";
        return Err(problem("strategy.rollback_batch", message.to_owned()));
    }
    if rolling.rollback_batch.is_some()
        && (serving.protocol != plan.green.protocol || serving.tls != plan.green.tls)
    {
        let message = "green does not speak blue's protocol or TLS, so a rollback that fails between two batches would leave no fleet of \
                       one kind: leave rollback_batch out";
        return Err(problem("strategy.rollback_batch", message.to_owned()));
    }
    let shift = plan.shift.clone().sized(Sizes { blue, green });
    let shift = shift.map_err(|error| problem("strategy.batch", error.to_string()))?;
    Ok(PlanSpec { shift, ..plan })
}

/// A run of an accepted plan, before its first input.
pub(super) fn run(endpoint: &Endpoint, links: &Links, id: ShiftId, plan: PlanSpec, actor: &str) -> Run {
    let now = links.timer.now();
    let blue_baseline = endpoint.blue.route.meters.read();
    let track = Track::default().from(Totals::of(&blue_baseline));
    Run {
        made: endpoint.green_of(&id, &plan),
        making: None,
        id,
        endpoint: endpoint.record.declared.name.clone(),
        actor: actor.to_owned(),
        started_at: links.timer.wall_of(now),
        blue_spec: endpoint.record.serving.clone(),
        blue_fleet: endpoint.record.fleet.clone(),
        blue: endpoint.blue.route.clone(),
        blue_baseline,
        engine: Shift::new(plan.shift.clone(), now),
        plan,
        findings: Vec::new(),
        lineage: Lineage::default(),
        green: None,
        ordered: Count::All,
        awaited_blue: Awaited::default(),
        old_blue: None,
        moments: Moments::default(),
        rollback: Rollback::default(),
        blue_short: None,
        transitions: Vec::new(),
        track,
        earlier: Earlier::default(),
        dealt_at_share: None,
        drain: None,
        lasting: Vec::new(),
        polls: Vec::new(),
        unwritten: None,
        owed: Owed::default(),
        looks_again: false,
        is_held: false,
        blocked_until: None,
    }
}

/// The id of a shift that was only checked.
pub(super) fn dry_run_id() -> ShiftId {
    ShiftId::parse(DRY_RUN).expect("the placeholder is of the alphabet of ids")
}

/// An id that no shift of the journal has, and none that waits: the endpoint's name and the time. Blocks.
pub(super) fn fresh_id(
    journal: &dyn Journal,
    endpoint: &EndpointName,
    waiting: &[ShiftId],
    now: WallTime,
) -> Result<ShiftId, StoreError> {
    let mut millis = u64::try_from(now.as_millis()).unwrap_or_default();
    loop {
        let id = id_at(endpoint, millis);
        if !waiting.contains(&id) && journal.shift(&id)?.is_none() {
            return Ok(id);
        }
        // The clock went back, or two began in one millisecond.
        millis += 1;
    }
}

/// The identity of a fleet that was declared at this moment. No shift has it, since a shift's id does not end like this.
pub(super) fn declared_fleet_id(endpoint: &EndpointName, now: WallTime) -> FleetId {
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    FleetId::parse(&format!("{}-blue", id_at(endpoint, millis))).expect("an id with letters behind it is one")
}

fn id_at(endpoint: &EndpointName, millis: u64) -> ShiftId {
    let prefix: String = endpoint.as_str().chars().take(PREFIX).collect();
    let digit = |place: u32| char::from(DIGITS[usize::from(((millis >> (5 * place)) & 31) as u8)]);
    let time: String = (0..TIME_DIGITS).rev().map(digit).collect();
    ShiftId::parse(&format!("{prefix}-{time}")).expect("a name's beginning, a dash and digits are an id")
}

fn same_instances(endpoint: &Endpoint, plan: &PlanSpec) -> Option<Problem> {
    let addresses = |spec: &FleetSpec| {
        spec.instances.iter().map(|instance| instance.address.as_str().to_owned()).collect::<BTreeSet<_>>()
    };
    let serving = &endpoint.record.serving;
    let is_made = serving.provider.is_some() || plan.green.provider.is_some();
    (!is_made && addresses(serving) == addresses(&plan.green)).then(|| Problem {
        key: "green.instances".to_owned(),
        line: None,
        message: format!(
            "these are the instances of {}, the fleet in service: there would be nothing to shift to; give the addresses of {}",
            serving.version, plan.green.version
        ),
    })
}

/// An alarm on tokens where nothing reads them would have too little data for ever.
fn unread_tokens(endpoint: &Endpoint, plan: &PlanSpec) -> Option<Problem> {
    let declared = &endpoint.record.declared;
    let (kind, name) = plan.alarms.on_tokens()?;
    let because = match declared.signals {
        Signals::Grpc => return None,
        Signals::Auto if !answers_grpc_alone(&endpoint.blue.route.meters.read()) => return None,
        Signals::Auto => {
            "all that it has answered were gRPC calls, of which it reads none: give the endpoint signals = \"grpc\""
        }
        Signals::Off => {
            "it reads none: give the endpoint signals = \"auto\", or \"grpc\" where they are streams of gRPC"
        }
    };
    Some(Problem {
        key: kind.to_owned(),
        line: None,
        message: format!(
            "{name} looks at the tokens of {}'s streams, and {because}; or let the alarm look at latency",
            declared.name
        ),
    })
}

/// Whether a fleet has answered, and nothing but gRPC calls.
fn answers_grpc_alone(reading: &Reading) -> bool {
    let (calls, answers) = (reading.grpc_statuses.iter().sum::<u64>(), reading.statuses.iter().sum::<u64>());
    calls > 0 && calls == answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_fit_whatever_the_endpoints_name() {
        let long = EndpointName::parse(&"a".repeat(63)).unwrap();
        assert_eq!(id_at(&long, u64::MAX >> 14).as_str().len(), 51);
        let chat = EndpointName::parse("chat").unwrap();
        let mut before = id_at(&chat, 0);
        for millis in [1, 31, 32, 1_769_860_800_250, 1_769_860_800_251, 4_000_000_000_000] {
            let id = id_at(&chat, millis);
            assert!(id > before, "{id} {before}");
            before = id;
        }
    }
}
