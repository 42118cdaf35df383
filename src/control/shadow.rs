//! An endpoint's shadow: a fleet that gets copies of its requests. No shift concerns it, and no alarm; it is whatever the endpoint's
//! declaration says of it now.

use std::sync::Arc;

use super::{
    ShadowView,
    endpoint::{Links, LiveFleet, kept},
};
use crate::{
    config::ShadowSpec,
    fleet::{Fleet, Side},
    meter::Recording,
    route::{
        Balance, EndpointRoute, EndpointSlot, FleetRoute, Limits, MatchRule, Missed, Replayed, RescuePolicy,
        Shadow, Split,
    },
    store::EndpointRecord,
    time::Moment,
};

/// Up to this, the body of a copy is kept for a second connection, where a kept one turns out to be closed. All copies together so take little of
/// the room that requests of clients need for theirs.
const REPLAY_BYTES: usize = 64 * 1024;

/// An endpoint's shadow in use.
#[derive(Debug)]
pub(super) struct LiveShadow {
    pub(super) fleet: LiveFleet,
    missed: Arc<Missed>,
}

impl LiveShadow {
    /// The shadow that a record names, if it does. What stays of the one before keeps its connections and, of the same version, its meters.
    pub(super) fn follow(before: Option<Self>, record: &EndpointRecord, links: &Links) -> Option<Self> {
        match (record.declared.shadow.as_ref(), before) {
            (Some(spec), Some(before)) => {
                let old = &before.fleet.route;
                let (fleet, gone) = kept(&old.fleet, links.provider.fixed().fleet(&spec.fleet));
                let is_same = old.fleet.version == spec.fleet.version;
                let meters = if is_same { Arc::clone(&old.meters) } else { links.meters(&fleet) };
                let missed = if is_same { Arc::clone(&before.missed) } else { Arc::default() };
                links.retire_when_drained(gone, [None, None]);
                let fleet = LiveFleet::new(record, FleetRoute { fleet, meters }, links);
                Some(Self { fleet, missed })
            }
            (Some(spec), None) => {
                let fleet = LiveFleet::of(record, (&spec.fleet, None), links);
                Some(Self { fleet, missed: Arc::default() })
            }
            (None, before) => {
                if let Some(before) = before {
                    before.retire(links);
                }
                None
            }
        }
    }

    /// What the data plane is told of it.
    pub(super) fn route(&self, record: &EndpointRecord, slot: EndpointSlot) -> Option<Arc<Shadow>> {
        let declared = &record.declared;
        let ShadowSpec { name, fleet: _, share, max_in_flight, body_limit_bytes } =
            declared.shadow.as_ref()?;
        let route = EndpointRoute {
            slot,
            name: declared.name.clone(),
            rule: MatchRule::default(),
            limits: Limits {
                replay_limit_bytes: declared.limits.replay_limit_bytes.min(REPLAY_BYTES),
                ..declared.limits
            },
            failures: declared.failures.clone(),
            rescue: RescuePolicy {
                on: Replayed::Never,
                retry: Replayed::Never,
                hedge: None,
                ..declared.rescue
            },
            sticky: None,
            variant_header: None,
            invocations: None,
            balance: Balance::default(),
            protection: declared.protection,
            rewrite: None,
            upgrades: declared.upgrades.clone(),
            signals: declared.signals,
            split: Split::default(),
            blue: self.fleet.route.clone(),
            green: None,
            leg: None,
            watch: None,
            recording: Recording::default(),
            shadow: None,
        };
        Some(Arc::new(Shadow {
            name: name.clone(),
            share: *share,
            max_in_flight: max_in_flight.get(),
            body_limit_bytes: *body_limit_bytes,
            route: Arc::new(route),
            missed: Arc::clone(&self.missed),
        }))
    }

    /// What is shown of it.
    pub(super) fn view(&self, record: &EndpointRecord, now: Moment) -> Option<ShadowView> {
        let spec = record.declared.shadow.as_ref()?;
        Some(ShadowView {
            name: spec.name.clone(),
            share: spec.share,
            fleet: self.fleet.view(Side::Blue, now),
            missed: self.missed.read(),
        })
    }

    /// It goes, once its copies have ended.
    pub(super) fn retire(self, links: &Links) {
        let fleet = &self.fleet.route.fleet;
        links.retire_when_drained(Fleet::of(fleet.version.clone(), fleet.instances.clone()), [None, None]);
    }
}
