//! Writes down the meters when somebody scrapes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::{
    buckets::Buckets,
    exposition::{Exposition, Family},
    names::{self, NO_SHIFT, SHIFT_STATES, STATUS_CLASSES},
    totals::{Sums, Totals},
};
use crate::{
    alarm::{AlarmEvidence, AlarmState},
    clock,
    fleet::{Health, Side},
    meter::{FailureKind, Gauge, WorkerMeters},
    name::EndpointName,
    route::{EndpointRoute, RouteTable},
    time::WallTime,
};

/// The collector behind `GET /metrics`.
#[derive(Debug)]
pub struct Telemetry {
    table: Arc<ArcSwap<RouteTable>>,
    workers: Arc<[WorkerMeters]>,
    started: WallTime,
    totals: Mutex<Totals>,
}

/// What control knows of a running shift, for the metrics.
#[derive(Clone, PartialEq, Debug)]
pub struct ShiftFigures {
    /// Whose.
    pub endpoint: EndpointName,
    /// The state's name.
    pub state: &'static str,
    /// Every alarm of its plan.
    pub alarms: Vec<AlarmEvidence>,
}

impl Telemetry {
    /// Reads the meters of whatever this table holds, and these workers' own.
    pub fn new(table: Arc<ArcSwap<RouteTable>>, workers: Arc<[WorkerMeters]>) -> Self {
        Self { table, workers, started: clock::wall(), totals: Mutex::default() }
    }

    /// Counts what the meters have gained. A fleet's meters are followed from the first look that finds them in the table, until the last
    /// request has let go of them; so there must be a look while each fleet is in the table, however short that is.
    pub fn look(&self) {
        self.totals().follow(&self.table.load());
    }

    /// All metrics now, in the format of [`super::CONTENT_TYPE`]. `shifts` are the running ones; without them (control did not answer in
    /// time) the series that come from control are left out, and those of the data plane are there all the same.
    pub fn render(&self, shifts: Option<&[ShiftFigures]>) -> String {
        let table = self.table.load_full();
        let mut text = Exposition::default();
        {
            let mut totals = self.totals();
            totals.follow(&table);
            write_totals(&mut text, &totals);
        }
        write_routes(&mut text, &table);
        if let Some(shifts) = shifts {
            write_shifts(&mut text, &table, shifts);
        }
        write_workers(&mut text, &self.workers);
        text.family(&names::TABLE_GENERATION).sample([], table.generation().0);
        text.family(&names::BUILD_INFO).sample([env!("CARGO_PKG_VERSION")], 1);
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 are exact in a double until the year 287396"
        )]
        text.family(&names::PROCESS_START_TIME).sample([], self.started.as_millis() as f64 / 1000.0);
        text.finish()
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        // Counters that a panic left half way are still counters: the next look adds what is missing.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_totals(text: &mut Exposition, totals: &Totals) {
    let mut samples = text.family(&names::REQUESTS);
    for (endpoint, side, sums) in totals.iter() {
        let outcomes = [
            ("success", sums.succeeded),
            ("client_error", sums.client_errors),
            ("failure", sums.failed()),
            ("client_gone", sums.client_gone),
        ];
        for (outcome, count) in outcomes {
            samples.sample([endpoint, side.as_str(), outcome], count);
        }
    }
    let mut samples = text.family(&names::FAILURES);
    for (endpoint, side, sums) in totals.iter() {
        for (kind, count) in FailureKind::ALL.into_iter().zip(sums.failures) {
            samples.sample([endpoint, side.as_str(), kind.as_str()], count);
        }
    }
    let mut samples = text.family(&names::RESPONSES);
    for (endpoint, side, sums) in totals.iter() {
        for (class, count) in STATUS_CLASSES.into_iter().zip(sums.statuses) {
            samples.sample([endpoint, side.as_str(), class], count);
        }
    }
    write_histograms(text, &names::REQUEST_DURATION, totals, |sums| &sums.latency);
    write_histograms(text, &names::FIRST_BYTE, totals, |sums| &sums.first_byte);
    write_counts(text, &names::REQUEST_BODY_BYTES, totals, |sums| sums.bytes_in);
    write_counts(text, &names::RESPONSE_BODY_BYTES, totals, |sums| sums.bytes_out);
    write_counts(text, &names::RETRIES, totals, |sums| sums.retried);
}

fn write_histograms(
    text: &mut Exposition,
    family: &Family<2>,
    totals: &Totals,
    which: impl Fn(&Sums) -> &Buckets,
) {
    let mut samples = text.family(family);
    for (endpoint, side, sums) in totals.iter() {
        samples.histogram([endpoint, side.as_str()], which(sums));
    }
}

fn write_counts(text: &mut Exposition, family: &Family<2>, totals: &Totals, which: impl Fn(&Sums) -> u64) {
    let mut samples = text.family(family);
    for (endpoint, side, sums) in totals.iter() {
        samples.sample([endpoint, side.as_str()], which(sums));
    }
}

fn write_routes(text: &mut Exposition, table: &RouteTable) {
    let mut samples = text.family(&names::IN_FLIGHT);
    for (route, side) in sides(table) {
        let in_flight = route.fleet(side).map_or(0, |fleet| {
            let reading = fleet.meters.read();
            reading.dealt.saturating_sub(reading.settled())
        });
        samples.sample([route.name.as_str(), side.as_str()], in_flight);
    }
    let mut samples = text.family(&names::SHARE_TARGET);
    for (route, side) in sides(table) {
        let share = match side {
            Side::Blue => route.split.green.complement(),
            Side::Green => route.split.green,
        };
        samples.sample([route.name.as_str(), side.as_str()], share.as_fraction());
    }
    let mut samples = text.family(&names::INSTANCE_HEALTHY);
    for (route, side) in sides(table) {
        for instance in route.fleet(side).iter().flat_map(|fleet| &fleet.fleet.instances) {
            let healthy = instance.health() == Health::Healthy;
            samples.sample([route.name.as_str(), side.as_str(), instance.address().as_str()], healthy);
        }
    }
}

fn write_shifts(text: &mut Exposition, table: &RouteTable, shifts: &[ShiftFigures]) {
    let mut samples = text.family(&names::SHIFT_STATE);
    for route in table.endpoints() {
        let running = shifts.iter().find(|shift| shift.endpoint == route.name);
        let current = running.map_or(NO_SHIFT, |shift| shift.state);
        for state in SHIFT_STATES {
            samples.sample([route.name.as_str(), state], state == current);
        }
    }
    let mut samples = text.family(&names::ALARM_EVIDENCE);
    for (endpoint, alarm) in alarms(shifts) {
        samples.sample([endpoint, &alarm.name], alarm.ln_e);
    }
    let mut samples = text.family(&names::ALARM_THRESHOLD);
    for (endpoint, alarm) in alarms(shifts) {
        samples.sample([endpoint, &alarm.name], alarm.threshold);
    }
    let mut samples = text.family(&names::ALARM_STATE);
    for (endpoint, alarm) in alarms(shifts) {
        for state in [AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData] {
            samples.sample([endpoint, &alarm.name, state.as_str()], state == alarm.state);
        }
    }
}

fn write_workers(text: &mut Exposition, workers: &[WorkerMeters]) {
    let mut samples = text.family(&names::CONNECTIONS);
    for (number, meters) in workers.iter().enumerate() {
        let number = number.to_string();
        samples.sample([&number], meters.connections.get());
    }
    let mut sum = |family, which: fn(&WorkerMeters) -> &Gauge| {
        text.family(family).sample([], workers.iter().map(|worker| which(worker).get()).sum::<u64>());
    };
    sum(&names::CONNECTIONS_ACCEPTED, |worker| &worker.accepted);
    sum(&names::CONNECTIONS_HANDED_OVER, |worker| &worker.handed_over);
    sum(&names::CONNECTIONS_REFUSED, |worker| &worker.refused);
    sum(&names::UNMATCHED_REQUESTS, |worker| &worker.unmatched);
    sum(&names::REJECTED_REQUESTS, |worker| &worker.rejected);
    sum(&names::UPSTREAM_CONNECTIONS, |worker| &worker.upstream_connects);
}

/// Every alarm with its endpoint.
fn alarms(shifts: &[ShiftFigures]) -> impl Iterator<Item = (&str, &AlarmEvidence)> {
    shifts.iter().flat_map(|shift| shift.alarms.iter().map(|alarm| (shift.endpoint.as_str(), alarm)))
}

/// Every endpoint with each of its sides.
fn sides(table: &RouteTable) -> impl Iterator<Item = (&EndpointRoute, Side)> {
    let routes = table.endpoints().iter();
    routes.flat_map(|route| [Side::Blue, Side::Green].map(|side| (&**route, side)))
}
