//! Writes down the meters when somebody scrapes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::{
    buckets::Buckets,
    deliveries::{self, DeliveryFigures},
    exposition::Exposition,
    fleets::{self, FleetFigures},
    names::{self, Family, STATUS_CLASSES},
    reloads::{Reload, Reloaded, Reloads},
    shifts::{self, Ends, ShiftEnd, ShiftFigures},
    totals::{Sums, Totals},
    witnesses::{self, Witnesses},
};
use crate::{
    clock,
    fleet::{Health, Side},
    meter::{FailureKind, Gauge, GrpcStatus, Hedge, Rejection, Rescue, WorkerMeters},
    name::EndpointName,
    route::{EndpointRoute, Miss, RouteTable},
    time::WallTime,
    version,
};

/// The collector behind `GET /metrics`.
#[derive(Debug)]
pub struct Telemetry {
    table: Arc<ArcSwap<RouteTable>>,
    workers: Arc<[WorkerMeters]>,
    witnesses: Witnesses,
    started: WallTime,
    totals: Mutex<Totals>,
    shadows: Mutex<Totals>,
    ends: Mutex<Ends>,
    deliveries: Mutex<DeliveryFigures>,
    reloads: Mutex<Reloads>,
    /// `None` where control did not say.
    fleets: Mutex<Option<Vec<FleetFigures>>>,
}

impl Telemetry {
    /// Reads the meters of whatever this table holds, these workers' own, and what became of what these witnesses were told.
    pub fn new(table: Arc<ArcSwap<RouteTable>>, workers: Arc<[WorkerMeters]>, witnesses: Witnesses) -> Self {
        Self {
            table,
            workers,
            witnesses,
            started: clock::wall(),
            totals: Mutex::default(),
            shadows: Mutex::default(),
            ends: Mutex::default(),
            deliveries: Mutex::default(),
            reloads: Mutex::default(),
            fleets: Mutex::default(),
        }
    }

    /// The table whose meters are read.
    pub fn table(&self) -> Arc<ArcSwap<RouteTable>> {
        Arc::clone(&self.table)
    }

    /// Counts what the meters have gained. A fleet's meters are followed from the first look that finds them in the table, until the last
    /// request has let go of them; so there must be a look while each fleet is in the table, however short that is.
    pub fn look(&self) {
        let table = self.table.load();
        lock(&self.totals).follow(&table);
        lock(&self.shadows).follow_shadows(&table);
    }

    /// Counts a shift that has ended.
    pub fn count_shift(&self, endpoint: &EndpointName, end: &ShiftEnd) {
        lock(&self.ends).count(endpoint, end);
    }

    /// Counts files that were read again.
    pub fn count_reload(&self, what: Reloaded, came_to: Reload) {
        lock(&self.reloads).count(what, came_to);
    }

    /// What is known of deliveries now, for the next time that somebody scrapes.
    pub fn note_deliveries(&self, figures: DeliveryFigures) {
        *lock(&self.deliveries) = figures;
    }

    /// What control knows of fleets now, for the next time that somebody scrapes; `None` when it did not answer.
    pub fn note_fleets(&self, figures: Option<Vec<FleetFigures>>) {
        *lock(&self.fleets) = figures;
    }

    /// All metrics now, in the format of [`super::CONTENT_TYPE`]. `shifts` are the running ones; without them (control did not answer in
    /// time) the series that come from control are left out, and those of the data plane are there all the same.
    pub fn render(&self, shifts: Option<&[ShiftFigures]>) -> String {
        let table = self.table.load_full();
        let mut text = Exposition::new();
        {
            let mut totals = lock(&self.totals);
            totals.follow(&table);
            write_totals(&mut text, &totals);
            write_variants(&mut text, &totals);
            let mut shadows = lock(&self.shadows);
            shadows.follow_shadows(&table);
            write_shadows(&mut text, &table, &shadows);
        }
        write_routes(&text, &table);
        fleets::write(&text, lock(&self.fleets).as_deref().unwrap_or_default());
        lock(&self.ends).write(&text, &table);
        if let Some(shifts) = shifts {
            shifts::write_running(&text, &table, shifts);
        }
        deliveries::write(&text, &lock(&self.deliveries));
        lock(&self.reloads).write(&text);
        write_workers(&text, &self.workers);
        witnesses::write(&text, &self.witnesses);
        text.gauges(&names::TABLE_GENERATION)([], real(table.generation().0));
        text.gauges(&names::BUILD_INFO)([version::NUMBER, version::commit()], 1.0);
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 are exact in a double until the year 287396"
        )]
        text.gauges(&names::PROCESS_START_TIME)([], self.started.as_millis() as f64 / 1000.0);
        text.finish()
    }
}

/// What a panic left half way is still counts: the next look adds what is missing.
fn lock<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a double; counts of 2^53 lose their last digit")]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

fn write_totals(text: &mut Exposition, totals: &Totals) {
    let requests = text.counters(&names::REQUESTS);
    let failures = text.counters(&names::FAILURES);
    let responses = text.counters(&names::RESPONSES);
    let grpc_responses = text.counters(&names::GRPC_RESPONSES);
    let rescues = text.counters(&names::RESCUES);
    let hedges = text.counters(&names::HEDGES);
    for (endpoint, side, sums) in totals.iter() {
        for (outcome, count) in outcomes(sums) {
            requests([endpoint, side.as_str(), outcome], count);
        }
        for (kind, count) in FailureKind::ALL.into_iter().zip(sums.failures) {
            failures([endpoint, side.as_str(), kind.as_str()], count);
        }
        for (result, count) in Rescue::ALL.into_iter().zip(sums.rescues) {
            rescues([endpoint, side.as_str(), result.as_str()], count);
        }
        if sums.hedges != [0; Hedge::ALL.len()] {
            for (result, count) in Hedge::ALL.into_iter().zip(sums.hedges) {
                hedges([endpoint, side.as_str(), result.as_str()], count);
            }
        }
        for (class, count) in STATUS_CLASSES.into_iter().zip(sums.statuses) {
            responses([endpoint, side.as_str(), class], count);
        }
        if sums.grpc_statuses != [0; GrpcStatus::ALL.len()] {
            for (status, count) in GrpcStatus::ALL.into_iter().zip(sums.grpc_statuses) {
                grpc_responses([endpoint, side.as_str(), status.as_str()], count);
            }
        }
    }
    drop((requests, failures, responses, grpc_responses, rescues, hedges));
    write_histograms(text, &names::REQUEST_DURATION, totals, |sums| &sums.latency);
    write_histograms(text, &names::FIRST_BYTE, totals, |sums| &sums.first_byte);
    write_histograms(text, &names::FIRST_TOKEN, totals, |sums| &sums.first_token);
    write_histograms(text, &names::TOKEN_GAP, totals, |sums| &sums.token_gap);
    write_counts(text, &names::TOKENS, totals, |sums| sums.tokens_out);
    write_counts(text, &names::REQUEST_BODY_BYTES, totals, |sums| sums.bytes_in);
    write_counts(text, &names::RESPONSE_BODY_BYTES, totals, |sums| sums.bytes_out);
    write_counts(text, &names::QUEUED, totals, |sums| sums.queued);
    write_counts(text, &names::WARM_UPS, totals, |sums| sums.warm_ups);
    write_counts(text, &names::RETRIES, totals, |sums| sums.retried);
}

/// What requests came to.
fn outcomes(sums: &Sums) -> [(&'static str, u64); 6] {
    [
        ("success", sums.succeeded),
        ("client_error", sums.client_errors),
        ("failure", sums.failed()),
        ("excused", sums.excused),
        ("client_gone", sums.client_gone),
        ("shed", sums.shed),
    ]
}

/// The same by variant, of endpoints that have variants.
fn write_variants(text: &mut Exposition, totals: &Totals) {
    let requests = text.counters(&names::VARIANT_REQUESTS);
    for ([endpoint, variant, side], sums) in totals.variants() {
        for (outcome, count) in outcomes(sums) {
            requests([endpoint, variant, side, outcome], count);
        }
    }
    drop(requests);
    let mut histogram = text.histograms(&names::VARIANT_DURATION);
    for (labels, sums) in totals.variants() {
        histogram(labels, &sums.latency);
    }
}

/// What endpoints' shadows made of copies.
fn write_shadows(text: &mut Exposition, table: &RouteTable, totals: &Totals) {
    let shadows: Vec<_> = table
        .endpoints()
        .iter()
        .filter_map(|route| {
            let sums = totals.iter().find(|(endpoint, _, _)| *endpoint == route.name.as_str())?.2;
            Some((route.name.as_str(), route.shadow.as_ref()?, sums))
        })
        .collect();
    let requests = text.counters(&names::SHADOW_REQUESTS);
    let missed = text.counters(&names::SHADOW_MISSED);
    for (endpoint, shadow, sums) in &shadows {
        for (outcome, count) in outcomes(sums) {
            requests([*endpoint, shadow.name.as_str(), outcome], count);
        }
        for (miss, count) in Miss::ALL.into_iter().zip(shadow.missed.read()) {
            missed([*endpoint, shadow.name.as_str(), miss.as_str()], count);
        }
    }
    drop((requests, missed));
    let mut histogram = text.histograms(&names::SHADOW_DURATION);
    for (endpoint, shadow, sums) in &shadows {
        histogram([*endpoint, shadow.name.as_str()], &sums.latency);
    }
}

fn write_histograms(
    text: &mut Exposition,
    family: &Family<2>,
    totals: &Totals,
    which: impl Fn(&Sums) -> &Buckets,
) {
    let mut histogram = text.histograms(family);
    for (endpoint, side, sums) in totals.iter() {
        histogram([endpoint, side.as_str()], which(sums));
    }
}

fn write_counts(text: &Exposition, family: &Family<2>, totals: &Totals, which: impl Fn(&Sums) -> u64) {
    let counter = text.counters(family);
    for (endpoint, side, sums) in totals.iter() {
        counter([endpoint, side.as_str()], which(sums));
    }
}

fn write_routes(text: &Exposition, table: &RouteTable) {
    let in_flight = text.gauges(&names::IN_FLIGHT);
    let waiting = text.gauges(&names::WAITING);
    let share_target = text.gauges(&names::SHARE_TARGET);
    let healthy = text.gauges(&names::INSTANCE_HEALTHY);
    let ejected = text.gauges(&names::INSTANCE_EJECTED);
    for (route, side) in sides(table) {
        let labels = [route.name.as_str(), side.as_str()];
        let fleet = route.fleet(side);
        let running = fleet.map(|fleet| fleet.meters.read());
        in_flight(
            labels,
            running.map_or(0.0, |reading| real(reading.dealt.saturating_sub(reading.settled()))),
        );
        waiting(labels, fleet.map_or(0.0, |fleet| real(fleet.meters.read().waiting)));
        let share = match side {
            Side::Blue => route.split.green.complement(),
            Side::Green => route.split.green,
        };
        share_target(labels, share.as_fraction());
        for instance in fleet.iter().flat_map(|fleet| &fleet.fleet.instances) {
            let [endpoint, side] = labels;
            let is_healthy = instance.health() == Health::Healthy;
            let labels = [endpoint, side, instance.address().as_str()];
            healthy(labels, f64::from(is_healthy));
            ejected(labels, f64::from(instance.is_ejected()));
        }
    }
}

fn write_workers(text: &Exposition, workers: &[WorkerMeters]) {
    let connections = text.gauges(&names::CONNECTIONS);
    for (number, meters) in workers.iter().enumerate() {
        connections([&number.to_string()], real(meters.connections.get()));
    }
    let upgraded = workers.iter().map(|meters| meters.upgraded.get()).sum();
    text.gauges(&names::UPGRADED)([], real(upgraded));
    let sum = |family, which: fn(&WorkerMeters) -> &Gauge| {
        text.counters(family)([], workers.iter().map(|worker| which(worker).get()).sum());
    };
    sum(&names::CONNECTIONS_ACCEPTED, |worker| &worker.accepted);
    sum(&names::CONNECTIONS_HANDED_OVER, |worker| &worker.handed_over);
    sum(&names::CONNECTIONS_REFUSED, |worker| &worker.refused);
    sum(&names::HANDSHAKES_FAILED, |worker| &worker.handshakes_failed);
    sum(&names::PROXY_HEADERS_REFUSED, |worker| &worker.proxy_headers_refused);
    sum(&names::UNMATCHED_REQUESTS, |worker| &worker.unmatched);
    let rejected = text.counters(&names::REJECTED_REQUESTS);
    for reason in Rejection::ALL {
        rejected([reason.as_str()], workers.iter().map(|worker| worker.rejected.get(reason)).sum());
    }
    sum(&names::SLOW_CLIENTS, |worker| &worker.too_slow);
    sum(&names::SHED_REQUESTS, |worker| &worker.shed);
    sum(&names::UPSTREAM_CONNECTIONS, |worker| &worker.upstream_connects);
    sum(&names::PANICS, |worker| &worker.panicked);
}

/// Every endpoint with each of its sides.
fn sides(table: &RouteTable) -> impl Iterator<Item = (&EndpointRoute, Side)> {
    let routes = table.endpoints().iter();
    routes.flat_map(|route| [Side::Blue, Side::Green].map(|side| (&**route, side)))
}
