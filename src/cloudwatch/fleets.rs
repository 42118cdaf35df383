//! What the proxy measures of each fleet, as SageMaker's metrics of endpoints
//! (<https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html>).
//!
//! A fleet is told apart by endpoint, variant, configuration and by whether it was blue or green then. CloudWatch matches sets of dimensions
//! exactly, and these sets are known: endpoint and variant; the same with the configuration; and, beyond SageMaker's, the same with
//! [`FLEET_DIMENSION`], which names green, blue or what green has more than blue without naming a configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Distribution,
    series::{Addable, Series},
    store::{MetricId, Spans},
};
use crate::fleet::Side;

/// Where the metrics of invocations are.
pub const INVOCATIONS_NAMESPACE: &str = "AWS/SageMaker";

/// Where the metrics of instances are.
pub const INSTANCES_NAMESPACE: &str = "/aws/sagemaker/Endpoints";

/// Which fleet of the deployment that runs.
pub const FLEET_DIMENSION: &str = "Fleet";

/// What [`FLEET_DIMENSION`] can be: the last is green's value less blue's.
pub const FLEETS: [&str; 3] = ["blue", "green", "delta"];

/// How many fleets are followed. One that no request went to for a week goes; beyond this, the one that was silent longest does.
const MOST_FLEETS: usize = 2_000;

/// Which fleet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct FleetKey {
    /// `EndpointName`
    pub endpoint: String,
    /// `VariantName`
    pub variant: String,
    /// `EndpointConfigName`: the fleet's version.
    pub config: String,
    /// Whether it was coming in.
    pub is_green: bool,
}

/// What requests came to.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that went to the model and are over.
    pub invocations: f64,
    /// Of those, answered with a status of 400 to 499.
    pub client_errors: f64,
    /// Of those, answered with one of 500 or more.
    pub server_errors: f64,
    /// Of those, without a good answer, for whatever reason.
    pub model_errors: f64,
    /// Each request counts for one part in as many as there were instances.
    pub per_instance: f64,
    /// Of those, answers that failed after they had begun.
    #[serde(default)]
    pub mid_stream_errors: f64,
}

/// What a fleet did in a second.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sample {
    /// Its requests.
    pub tally: Tally,
    /// From dispatch to the last byte of whole answers, in microseconds.
    pub latency: Option<Distribution>,
    /// From dispatch to the first token of streams, in microseconds.
    pub first_chunk: Option<Distribution>,
    /// From the arrival of invocations to their dispatch, in microseconds.
    pub overhead: Option<Distribution>,
    /// Requests in flight at its end.
    pub in_flight: Option<f64>,
}

/// A metric that the proxy itself measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// `Invocations`
    Invocations,
    /// `InvocationsPerInstance`
    PerInstance,
    /// `Invocation4XXErrors`
    ClientErrors,
    /// `Invocation5XXErrors`
    ServerErrors,
    /// `InvocationModelErrors`
    ModelErrors,
    /// `MidStreamErrors`
    MidStreamErrors,
    /// `ModelLatency`
    Latency,
    /// `FirstChunkModelLatency`
    FirstChunk,
    /// `OverheadLatency`
    Overhead,
    /// `ConcurrentRequestsPerModel`
    InFlight,
}

/// The fleets.
#[derive(Debug, Default)]
pub(super) struct Fleets {
    fleets: BTreeMap<FleetKey, FleetSeries>,
}

#[derive(Clone, Debug, Default)]
struct FleetSeries {
    tally: Series<Tally>,
    latency: Series<Distribution>,
    first_chunk: Series<Distribution>,
    overhead: Series<Distribution>,
    in_flight: Series<Distribution>,
}

/// Five minutes of a fleet, as they outlive the process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct FleetSlot {
    key: FleetKey,
    tally: Option<Tally>,
    latency: Option<Distribution>,
    first_chunk: Option<Distribution>,
    #[serde(default)]
    overhead: Option<Distribution>,
    in_flight: Option<Distribution>,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Invocations,
        Self::PerInstance,
        Self::ClientErrors,
        Self::ServerErrors,
        Self::ModelErrors,
        Self::MidStreamErrors,
        Self::Latency,
        Self::FirstChunk,
        Self::Overhead,
        Self::InFlight,
    ];

    /// What SageMaker calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invocations => "Invocations",
            Self::PerInstance => "InvocationsPerInstance",
            Self::ClientErrors => "Invocation4XXErrors",
            Self::ServerErrors => "Invocation5XXErrors",
            Self::ModelErrors => "InvocationModelErrors",
            Self::MidStreamErrors => "MidStreamErrors",
            Self::Latency => "ModelLatency",
            Self::FirstChunk => "FirstChunkModelLatency",
            Self::Overhead => "OverheadLatency",
            Self::InFlight => "ConcurrentRequestsPerModel",
        }
    }

    /// The metric of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// What it is measured in.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Invocations
            | Self::PerInstance
            | Self::ClientErrors
            | Self::ServerErrors
            | Self::ModelErrors
            | Self::MidStreamErrors => "None",
            Self::Latency | Self::FirstChunk | Self::Overhead => "Microseconds",
            Self::InFlight => "Count",
        }
    }

    /// Whether each of its samples is 0 or 1, so that an average is a rate.
    pub const fn is_rate(self) -> bool {
        match self {
            Self::ClientErrors | Self::ServerErrors | Self::ModelErrors | Self::MidStreamErrors => true,
            Self::Invocations
            | Self::PerInstance
            | Self::Latency
            | Self::FirstChunk
            | Self::Overhead
            | Self::InFlight => false,
        }
    }

    fn of_tally(self, tally: &Tally) -> Option<Distribution> {
        let Tally {
            invocations,
            client_errors,
            server_errors,
            model_errors,
            per_instance,
            mid_stream_errors,
        } = *tally;
        let rate = |ones: f64| Distribution::of([(0.0, invocations - ones), (1.0, ones)]);
        match self {
            Self::Invocations => Distribution::of([(1.0, invocations)]),
            Self::PerInstance => {
                let each = per_instance / invocations;
                Distribution::of([(each, invocations)]).map(|all| all.with_sum(per_instance))
            }
            Self::ClientErrors => rate(client_errors),
            Self::ServerErrors => rate(server_errors),
            Self::ModelErrors => rate(model_errors),
            Self::MidStreamErrors => rate(mid_stream_errors),
            Self::Latency | Self::FirstChunk | Self::Overhead | Self::InFlight => None,
        }
    }
}

impl Addable for Tally {
    fn add(&mut self, other: &Self) {
        let Self { invocations, client_errors, server_errors, model_errors, per_instance, mid_stream_errors } =
            other;
        self.invocations += invocations;
        self.client_errors += client_errors;
        self.server_errors += server_errors;
        self.model_errors += model_errors;
        self.per_instance += per_instance;
        self.mid_stream_errors += mid_stream_errors;
    }

    fn units(&self) -> usize {
        1
    }
}

impl Addable for Distribution {
    fn add(&mut self, other: &Self) {
        self.add(other);
    }

    fn units(&self) -> usize {
        1 + self.pairs() / 6
    }
}

/// Which fleets a set of dimensions means.
#[derive(Clone, Copy, Debug)]
enum Which<'a> {
    All,
    Config(&'a str),
    Green,
    Blue,
    Delta,
}

impl Fleets {
    pub(super) fn put(&mut self, key: &FleetKey, second: i64, now: i64, sample: &Sample) {
        let Sample { tally, latency, first_chunk, overhead, in_flight } = sample;
        let is_idle = tally.invocations <= 0.0 && in_flight.is_none_or(|count| count <= 0.0);
        if is_idle && !self.fleets.contains_key(key) {
            return;
        }
        self.make_room(key);
        let series = self.fleets.entry(key.clone()).or_default();
        if tally.invocations > 0.0 {
            series.tally.put(second, now, tally);
        }
        let gauge = in_flight.and_then(|count| Distribution::of([(count, 1.0)]));
        for (series, value) in [
            (&mut series.latency, latency.as_ref()),
            (&mut series.first_chunk, first_chunk.as_ref()),
            (&mut series.overhead, overhead.as_ref()),
            (&mut series.in_flight, gauge.as_ref()),
        ] {
            if let Some(value) = value {
                series.put(second, now, value);
            }
        }
    }

    fn make_room(&mut self, key: &FleetKey) {
        if self.fleets.len() < MOST_FLEETS || self.fleets.contains_key(key) {
            return;
        }
        let stalest = self.fleets.iter().min_by_key(|(_, series)| series.tally.newest());
        if let Some(stalest) = stalest.map(|(key, _)| key.clone()) {
            self.fleets.remove(&stalest);
        }
    }

    /// The spans of a metric; `None` where these dimensions are of no fleet that there was.
    pub(super) fn spans(
        &self,
        id: &MetricId,
        (from, period, count): (i64, i64, usize),
        now: i64,
    ) -> Option<Spans> {
        let metric = Metric::named(&id.name).filter(|_| id.namespace == INVOCATIONS_NAMESPACE)?;
        let (endpoint, variant, which) = which(id)?;
        let of = |side: Option<bool>, config: Option<&str>| {
            let its = self.fleets.iter().filter(|(key, _)| {
                key.endpoint == endpoint
                    && key.variant == variant
                    && side.is_none_or(|side| side == key.is_green)
                    && config.is_none_or(|config| config == key.config)
            });
            let mut sums: Option<Vec<Option<Distribution>>> = None;
            for (_, series) in its {
                let spans = series.spans(metric, (from, period, count), now);
                sums = Some(match sums {
                    None => spans,
                    Some(sums) => sums.into_iter().zip(spans).map(both).collect(),
                });
            }
            sums
        };
        match which {
            Which::All => of(None, None).map(Spans::Of),
            Which::Config(config) => of(None, Some(config)).map(Spans::Of),
            Which::Green => of(Some(true), None).map(Spans::Of),
            Which::Blue => of(Some(false), None).map(Spans::Of),
            Which::Delta => Some(Spans::Delta { green: of(Some(true), None)?, blue: of(Some(false), None)? }),
        }
    }

    /// Every metric by its name and dimensions, with the newest second that has a sample.
    pub(super) fn metrics(&self) -> Vec<(MetricId, i64)> {
        let mut found: BTreeMap<MetricId, i64> = BTreeMap::new();
        for (key, series) in &self.fleets {
            let side = if key.is_green { "green" } else { "blue" };
            let more =
                [None, Some(("EndpointConfigName", key.config.as_str())), Some((FLEET_DIMENSION, side))];
            for (metric, newest) in series.newest() {
                for more in more {
                    let dimensions = [("EndpointName", key.endpoint.as_str()), ("VariantName", &key.variant)];
                    let dimensions = dimensions.into_iter().chain(more);
                    let id = MetricId::new(INVOCATIONS_NAMESPACE, metric.name(), dimensions);
                    let known = found.entry(id).or_insert(newest);
                    *known = (*known).max(newest);
                }
            }
        }
        found.into_iter().collect()
    }

    pub(super) fn trim(&mut self, now: i64, part: f64) {
        self.fleets.retain(|_, series| {
            series.tally.trim(now, part);
            for series in
                [&mut series.latency, &mut series.first_chunk, &mut series.overhead, &mut series.in_flight]
            {
                series.trim(now, part);
            }
            !(series.tally.is_empty() && series.in_flight.is_empty())
        });
    }

    pub(super) fn units(&self) -> usize {
        let of = |series: &FleetSeries| {
            series.tally.units()
                + series.latency.units()
                + series.first_chunk.units()
                + series.overhead.units()
                + series.in_flight.units()
        };
        self.fleets.values().map(of).sum()
    }

    pub(super) fn slots(&self, begins: i64) -> Vec<FleetSlot> {
        let slot = |(key, series): (&FleetKey, &FleetSeries)| {
            let slot = FleetSlot {
                key: key.clone(),
                tally: series.tally.slot(begins).copied(),
                latency: series.latency.slot(begins).cloned(),
                first_chunk: series.first_chunk.slot(begins).cloned(),
                overhead: series.overhead.slot(begins).cloned(),
                in_flight: series.in_flight.slot(begins).cloned(),
            };
            slot.tally.is_some().then_some(slot)
        };
        self.fleets.iter().filter_map(slot).collect()
    }

    pub(super) fn restore(&mut self, begins: i64, slot: FleetSlot) {
        let FleetSlot { key, tally, latency, first_chunk, overhead, in_flight } = slot;
        self.make_room(&key);
        let series = self.fleets.entry(key).or_default();
        if let Some(tally) = tally {
            series.tally.restore(begins, &tally);
        }
        for (series, value) in [
            (&mut series.latency, latency),
            (&mut series.first_chunk, first_chunk),
            (&mut series.overhead, overhead),
            (&mut series.in_flight, in_flight),
        ] {
            if let Some(value) = value {
                series.restore(begins, &value);
            }
        }
    }
}

impl FleetSeries {
    fn spans(
        &self,
        metric: Metric,
        (from, period, count): (i64, i64, usize),
        now: i64,
    ) -> Vec<Option<Distribution>> {
        match metric {
            Metric::Latency => self.latency.spans(from, period, count, now),
            Metric::FirstChunk => self.first_chunk.spans(from, period, count, now),
            Metric::Overhead => self.overhead.spans(from, period, count, now),
            Metric::InFlight => self.in_flight.spans(from, period, count, now),
            Metric::Invocations
            | Metric::PerInstance
            | Metric::ClientErrors
            | Metric::ServerErrors
            | Metric::ModelErrors
            | Metric::MidStreamErrors => {
                let tallies = self.tally.spans(from, period, count, now);
                tallies.iter().map(|tally| metric.of_tally(tally.as_ref()?)).collect()
            }
        }
    }

    fn newest(&self) -> impl Iterator<Item = (Metric, i64)> {
        let newest = |metric: Metric| match metric {
            Metric::Latency => self.latency.newest(),
            Metric::FirstChunk => self.first_chunk.newest(),
            Metric::Overhead => self.overhead.newest(),
            Metric::InFlight => self.in_flight.newest(),
            Metric::Invocations
            | Metric::PerInstance
            | Metric::ClientErrors
            | Metric::ServerErrors
            | Metric::ModelErrors
            | Metric::MidStreamErrors => self.tally.newest(),
        };
        Metric::ALL.into_iter().filter_map(move |metric| Some((metric, newest(metric)?)))
    }
}

fn both((one, two): (Option<Distribution>, Option<Distribution>)) -> Option<Distribution> {
    match (one, two) {
        (Some(mut one), Some(two)) => {
            one.add(&two);
            Some(one)
        }
        (one, two) => one.or(two),
    }
}

/// Endpoint, variant, and which of their fleets.
fn which(id: &MetricId) -> Option<(&str, &str, Which<'_>)> {
    let of = |name: &str| id.dimension(name);
    let (endpoint, variant) = (of("EndpointName")?, of("VariantName")?);
    let which = match (id.dimensions.len(), of("EndpointConfigName"), of(FLEET_DIMENSION)) {
        (2, None, None) => Which::All,
        (3, Some(config), None) => Which::Config(config),
        (3, None, Some("green")) => Which::Green,
        (3, None, Some("blue")) => Which::Blue,
        (3, None, Some("delta")) => Which::Delta,
        _ => return None,
    };
    Some((endpoint, variant, which))
}

impl FleetKey {
    /// The fleet on one side of an endpoint's variant.
    pub fn new(endpoint: &str, variant: &str, config: &str, side: Side) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            variant: variant.to_owned(),
            config: config.to_owned(),
            is_green: side == Side::Green,
        }
    }
}
