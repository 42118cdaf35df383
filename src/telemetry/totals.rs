//! Totals for each endpoint and side that only ever rise, whichever fleets come and go behind them.
//!
//! Meters belong to a fleet, series to an endpoint and a side. When green is promoted its meters become blue's, and a
//! scrape that simply showed blue's meters would fall and then count all of green's past again. So what is shown is summed up from
//! differences: what a fleet's meters gained goes to the side that the fleet was on.

use std::{collections::BTreeMap, sync::Arc};

use super::buckets::Buckets;
use crate::{
    fleet::Side,
    meter::{FailureKind, FleetMeters, GrpcStatus, Hedge, HistogramSnapshot, Reading, Rescue},
    name::{EndpointName, VariantName},
    route::{FleetRoute, RouteTable},
};

/// What is known of every endpoint that the table has had since it last had it.
#[derive(Debug, Default)]
pub(super) struct Totals {
    fleets: Vec<Followed>,
    sums: BTreeMap<Place, Sums>,
}

/// Where requests are counted to: what a fleet's variants counted is counted to the fleet as a whole too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    endpoint: EndpointName,
    /// `None` for all of them.
    variant: Option<VariantName>,
    side: Side,
}

/// One side's totals.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sums {
    pub(super) succeeded: u64,
    pub(super) client_errors: u64,
    pub(super) excused: u64,
    pub(super) client_gone: u64,
    pub(super) shed: u64,
    pub(super) queued: u64,
    pub(super) failures: [u64; FailureKind::ALL.len()],
    pub(super) statuses: [u64; 5],
    pub(super) grpc_statuses: [u64; GrpcStatus::ALL.len()],
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) tokens_out: u64,
    pub(super) retried: u64,
    pub(super) warm_ups: u64,
    pub(super) rescues: [u64; Rescue::ALL.len()],
    pub(super) hedges: [u64; Hedge::ALL.len()],
    pub(super) latency: Buckets,
    pub(super) first_byte: Buckets,
    pub(super) first_token: Buckets,
    pub(super) token_gap: Buckets,
}

/// A fleet's meters, where they count to, and how far they have been counted.
#[derive(Debug)]
struct Followed {
    meters: Arc<FleetMeters>,
    place: Place,
    reading: Reading,
    latency: HistogramSnapshot,
    first_byte: HistogramSnapshot,
    first_token: HistogramSnapshot,
    token_gap: HistogramSnapshot,
}

impl Totals {
    /// Counts what the meters have gained since the last call. Endpoints that the table has no longer are forgotten; a fleet that
    /// it has no longer is followed until its last request has let go of its meters.
    pub(super) fn follow(&mut self, table: &RouteTable) {
        let routes = table.endpoints().iter();
        let fleets = routes.flat_map(|route| [Side::Blue, Side::Green].map(|side| (route, side)));
        let fleets = fleets.filter_map(|(route, side)| Some((&route.name, side, route.fleet(side)?)));
        self.follow_all(table, fleets);
    }

    /// The same with the shadows of endpoints, which have no sides: each counts as blue.
    pub(super) fn follow_shadows(&mut self, table: &RouteTable) {
        let routes = table.endpoints().iter();
        let fleets =
            routes.filter_map(|route| Some((&route.name, Side::Blue, &route.shadow.as_ref()?.route.blue)));
        self.follow_all(table, fleets);
    }

    fn follow_all<'a>(
        &mut self,
        table: &RouteTable,
        all: impl Iterator<Item = (&'a EndpointName, Side, &'a FleetRoute)>,
    ) {
        for (endpoint, side, FleetRoute { fleet: _, meters }) in all {
            let place = Place { endpoint: endpoint.clone(), variant: None, side };
            self.count(&place, meters);
            for (name, meters) in meters.variants() {
                self.count(&Place { variant: Some(name.clone()), ..place.clone() }, meters);
            }
        }
        let Self { fleets, sums } = self;
        fleets.retain_mut(|followed| {
            if table.named(&followed.place.endpoint).is_none() {
                return false;
            }
            // Looked at before the meters are read: nobody who could still bump them is left once the count is one.
            let alive = Arc::strong_count(&followed.meters) > 1;
            followed.gain(sums.entry(followed.place.clone()).or_default());
            alive
        });
        sums.retain(|place, _| table.named(&place.endpoint).is_some());
    }

    /// Every endpoint's sides, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Side, &Sums)> {
        let whole = self.sums.iter().filter(|(place, _)| place.variant.is_none());
        whole.map(|(place, sums)| (place.endpoint.as_str(), place.side, sums))
    }

    /// Every endpoint's variants, in order.
    pub(super) fn variants(&self) -> impl Iterator<Item = ([&str; 3], &Sums)> {
        self.sums.iter().filter_map(|(Place { endpoint, variant, side }, sums)| {
            Some(([endpoint.as_str(), variant.as_ref()?.as_str(), side.as_str()], sums))
        })
    }

    /// Makes sure that meters are followed under the side that their fleet has now. What they gained before it changed sides belongs to the
    /// old one.
    fn count(&mut self, place: &Place, meters: &Arc<FleetMeters>) {
        let known = self.fleets.iter_mut().find(|followed| Arc::ptr_eq(&followed.meters, meters));
        match known {
            Some(followed) if followed.place != *place => {
                followed.gain(self.sums.entry(followed.place.clone()).or_default());
                followed.place = place.clone();
            }
            Some(_) => {}
            None => self.fleets.push(Followed {
                meters: Arc::clone(meters),
                place: place.clone(),
                reading: Reading::default(),
                latency: HistogramSnapshot::default(),
                first_byte: HistogramSnapshot::default(),
                first_token: HistogramSnapshot::default(),
                token_gap: HistogramSnapshot::default(),
            }),
        }
    }
}

impl Followed {
    /// Adds what the meters have gained since the last call.
    fn gain(&mut self, sums: &mut Sums) {
        let reading = self.meters.read();
        sums.add(&self.reading, &reading);
        self.reading = reading;
        let grow = |sum: &mut Buckets, last: &mut HistogramSnapshot, now: HistogramSnapshot| {
            sum.add(&now.since(last));
            *last = now;
        };
        grow(&mut sums.latency, &mut self.latency, self.meters.latency());
        grow(&mut sums.first_byte, &mut self.first_byte, self.meters.first_byte());
        grow(&mut sums.first_token, &mut self.first_token, self.meters.first_token());
        grow(&mut sums.token_gap, &mut self.token_gap, self.meters.token_gap());
    }
}

impl Sums {
    fn add(&mut self, then: &Reading, now: &Reading) {
        let Self {
            succeeded,
            client_errors,
            excused,
            client_gone,
            shed,
            queued,
            failures,
            statuses,
            grpc_statuses,
            bytes_in,
            bytes_out,
            tokens_out,
            retried,
            warm_ups,
            rescues,
            hedges,
            latency: _,
            first_byte: _,
            first_token: _,
            token_gap: _,
        } = self;
        let grow = |total: &mut u64, now: u64, then: u64| *total += now.saturating_sub(then);
        grow(succeeded, now.succeeded, then.succeeded);
        grow(client_errors, now.client_errors, then.client_errors);
        grow(excused, now.excused, then.excused);
        grow(client_gone, now.client_gone, then.client_gone);
        grow(shed, now.shed, then.shed);
        grow(queued, now.queued, then.queued);
        grow(bytes_in, now.bytes_in, then.bytes_in);
        grow(bytes_out, now.bytes_out, then.bytes_out);
        grow(tokens_out, now.tokens_out, then.tokens_out);
        grow(warm_ups, now.warm_ups, then.warm_ups);
        grow(retried, now.retried, then.retried);
        for (total, (now, then)) in failures.iter_mut().zip(now.failures.iter().zip(&then.failures)) {
            grow(total, *now, *then);
        }
        for (total, (now, then)) in rescues.iter_mut().zip(now.rescues.iter().zip(&then.rescues)) {
            grow(total, *now, *then);
        }
        for (total, (now, then)) in hedges.iter_mut().zip(now.hedges.iter().zip(&then.hedges)) {
            grow(total, *now, *then);
        }
        let grpc = now.grpc_statuses.iter().zip(&then.grpc_statuses);
        for (total, (now, then)) in grpc_statuses.iter_mut().zip(grpc) {
            grow(total, *now, *then);
        }
        for (total, (now, then)) in statuses.iter_mut().zip(now.statuses.iter().zip(&then.statuses)) {
            grow(total, *now, *then);
        }
    }

    /// Failures of all kinds.
    pub(super) fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture::{Fixture, good};

    fn succeeded(totals: &Totals) -> Vec<(Side, u64)> {
        totals.iter().map(|(_, side, sums)| (side, sums.succeeded)).collect()
    }

    #[test]
    fn after_a_promotion_blue_goes_on_from_where_it_was() {
        let (mut totals, mut fixture) = (Totals::default(), Fixture::with_green());
        fixture.settle(Side::Blue, 5, &good(1));
        fixture.settle(Side::Green, 3, &good(1));
        totals.follow(&fixture.table());
        assert_eq!(succeeded(&totals), [(Side::Blue, 5), (Side::Green, 3)]);
        fixture.settle(Side::Green, 1, &good(1));
        fixture.promote();
        totals.follow(&fixture.table());
        assert_eq!(succeeded(&totals), [(Side::Blue, 5), (Side::Green, 4)]);
        fixture.settle(Side::Blue, 2, &good(1));
        totals.follow(&fixture.table());
        assert_eq!(succeeded(&totals), [(Side::Blue, 7), (Side::Green, 4)]);
    }

    #[test]
    fn what_a_variant_counts_is_counted_to_it_and_to_its_fleet() {
        let (mut totals, mut fixture) = (Totals::default(), Fixture::with_green());
        fixture.vary(["a", "b"]);
        fixture.settle_variant(Side::Blue, "a", 3, &good(1));
        fixture.settle_variant(Side::Green, "b", 2, &good(1));
        totals.follow(&fixture.table());
        fixture.promote();
        totals.follow(&fixture.table());
        fixture.settle_variant(Side::Blue, "b", 4, &good(1));
        totals.follow(&fixture.table());
        assert_eq!(succeeded(&totals), [(Side::Blue, 7), (Side::Green, 2)]);
        let told: Vec<_> = totals.variants().map(|(labels, sums)| (labels, sums.succeeded)).collect();
        assert_eq!(
            told,
            [
                (["chat", "a", "blue"], 3),
                (["chat", "a", "green"], 0),
                (["chat", "b", "blue"], 4),
                (["chat", "b", "green"], 2)
            ]
        );
    }

    #[test]
    fn a_request_that_ends_after_its_fleet_has_gone_is_counted() {
        let (mut totals, mut fixture) = (Totals::default(), Fixture::with_green());
        totals.follow(&fixture.table());
        let held = fixture.drop_green();
        totals.follow(&fixture.table());
        Fixture::settle_on(&held, 1, &good(1));
        drop(held);
        totals.follow(&fixture.table());
        assert_eq!(succeeded(&totals), [(Side::Blue, 0), (Side::Green, 1)]);
        assert_eq!(totals.fleets.len(), 1, "nobody holds the meters any more");
    }

    #[test]
    fn an_endpoint_that_has_gone_is_forgotten() {
        let (mut totals, fixture) = (Totals::default(), Fixture::with_green());
        fixture.settle(Side::Blue, 5, &good(1));
        totals.follow(&fixture.table());
        totals.follow(&RouteTable::default());
        assert_eq!(totals.iter().count(), 0);
        assert!(totals.fleets.is_empty());
    }
}
