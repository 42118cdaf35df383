//! What the steps of a rolling shift mean for single instances, as events.
//!
//! Whoever runs the servers of a fleet whose instances are named starts and ends them as these events tell: a batch of blue that is let go
//! may be ended, and one that has to serve again must be there. Where a provider makes them, the events say which of them it was.

use serde_json::json;

use super::{ledger::Draft, run::Run};
use crate::{
    fleet::{Fleet, Instance, Side},
    shift::{Count, Effect, InService, Shift},
    time::WallTime,
};

/// What happens to some instances of a fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// They get requests from now on.
    Added,
    /// They get no new requests and finish those that they have.
    Draining,
    /// Nothing is in flight on them, or their time is over: nobody needs them any more.
    Retired,
}

impl Run {
    /// The event of a step of a rolling shift; `None` where no batch begins or ends.
    pub(super) fn batch_draft(&self, before: &Shift, effects: &[Effect], at: WallTime) -> Option<Draft> {
        let serving = before.in_service()?;
        let parts: Vec<_> =
            effects.iter().filter_map(|effect| self.part_of(before, serving, effect)).collect();
        let parts: Vec<_> = parts.into_iter().filter(|(_, _, addresses)| !addresses.is_empty()).collect();
        if parts.is_empty() {
            return None;
        }
        let told = parts.iter().map(|(side, part, addresses)| {
            let version = match side {
                Side::Blue => &self.blue_spec.version,
                Side::Green => &self.plan.green.version,
            };
            format!("{version}: {} {}", addresses.join(", "), part.text(addresses.len()))
        });
        let evidence = parts.iter().map(|(side, part, addresses)| {
            json!({ "fleet": side.as_str(), "what": part.as_str(), "instances": addresses })
        });
        Some(Draft {
            endpoint: Some(self.endpoint.clone()),
            shift: Some(self.id.clone()),
            share: Some(self.share()),
            evidence: Some(evidence.collect()),
            ..Draft::new(at, "shift.batch", "driver", told.collect::<Vec<_>>().join("; "))
        })
    }

    fn part_of(
        &self,
        before: &Shift,
        serving: InService,
        effect: &Effect,
    ) -> Option<(Side, Part, Vec<String>)> {
        let serving_of = |side| match side {
            Side::Blue => serving.blue,
            Side::Green => serving.green,
        };
        let (side, part, from, to) = match *effect {
            Effect::Serve(side, Count::First(count)) => (side, Part::Added, serving_of(side), count),
            Effect::Drain { side, keep } => (side, Part::Draining, keep, serving_of(side)),
            Effect::Retire { side, keep } => {
                // In this state the batch that goes is still ordered of whoever makes it.
                let ordered = before.ordered().and_then(|ordered| match side {
                    Side::Blue => ordered.blue,
                    Side::Green => ordered.green,
                });
                (side, Part::Retired, keep, ordered.unwrap_or(u32::MAX))
            }
            Effect::Serve(_, Count::All)
            | Effect::Provision(..)
            | Effect::BeginStep(_)
            | Effect::PublishShare(_)
            | Effect::Adopt
            | Effect::Settle
            | Effect::Finish => return None,
        };
        let fleet = match side {
            Side::Blue => Some(&self.blue.fleet),
            Side::Green => self.green_fleet(),
        };
        Some((side, part, addresses(fleet?, from, to)))
    }
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }

    const fn text(self, count: usize) -> &'static str {
        match (self, count) {
            (Self::Added, 1) => "gets requests from now on",
            (Self::Added, _) => "get requests from now on",
            (Self::Draining, 1) => "gets no new requests",
            (Self::Draining, _) => "get no new requests",
            (Self::Retired, 1) => "is let go",
            (Self::Retired, _) => "are let go",
        }
    }
}

/// The instances of a fleet from one place to another.
fn addresses(fleet: &Fleet, from: u32, to: u32) -> Vec<String> {
    let place = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).min(fleet.instances.len());
    let those = fleet.instances.get(place(from)..place(to)).unwrap_or_default();
    let address = |instance: &std::sync::Arc<Instance>| instance.address().as_str().to_owned();
    those.iter().map(address).collect()
}
