//! What each fleet did since the last look, read from the meters.
//!
//! A fleet is followed from the first look that finds it in the table until nobody holds its meters. They are held weakly here, so that this
//! keeps none alive; what a fleet gains between the last look and its end, within a second, is not in its metrics.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::Api;
use crate::{
    admin::sagemaker,
    cloudwatch::{Distribution, FleetKey, Sample, Tally},
    fleet::Side,
    meter::{FailureKind, FleetMeters, HistogramSnapshot, Reading},
    name::EndpointName,
    route::FleetRoute,
};

/// What variants of endpoints are called that have only one, without a name.
const ONLY_VARIANT: &str = "AllTraffic";

/// The fleets that are followed.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    followed: Vec<Followed>,
    /// What SageMaker's clients call the one variant of an endpoint, as far as its record was asked for.
    names: HashMap<EndpointName, String>,
}

#[derive(Debug)]
struct Followed {
    meters: Weak<FleetMeters>,
    key: FleetKey,
    instances: usize,
    reading: Reading,
    latency: HistogramSnapshot,
    first_token: HistogramSnapshot,
    overhead: HistogramSnapshot,
}

impl Sampler {
    /// What happened until now, in the second before this one.
    pub(super) async fn look(&mut self, api: &Api, now: i64) {
        let table = api.table.load_full();
        self.names.retain(|name, _| table.named(name).is_some());
        for route in table.endpoints() {
            for side in [Side::Blue, Side::Green] {
                if let Some(fleet) = route.fleet(side) {
                    self.follow(api, &route.name, side, fleet).await;
                }
            }
            if let Some(shadow) = &route.shadow {
                let FleetRoute { fleet, meters } = &shadow.route.blue;
                let config = fleet.version.as_str();
                let key = FleetKey::new(route.name.as_str(), shadow.name.as_str(), config, Side::Blue);
                self.put(meters, key, fleet.instances.len());
            }
        }
        let mut state = api.state();
        self.followed.retain_mut(|followed| {
            let Some(meters) = followed.meters.upgrade() else { return false };
            let sample = followed.sample(&meters);
            state.metrics.put_fleet(&followed.key, now - 1, now, &sample);
            true
        });
    }

    /// Makes sure that a fleet's variants are followed under the side that they have now.
    async fn follow(&mut self, api: &Api, endpoint: &EndpointName, side: Side, fleet: &FleetRoute) {
        let config = fleet.fleet.version.as_str();
        if fleet.meters.variants().is_empty() {
            let variant = self.only_variant(api, endpoint).await;
            let key = FleetKey::new(endpoint.as_str(), &variant, config, side);
            self.put(&fleet.meters, key, fleet.fleet.instances.len());
            return;
        }
        for (name, meters) in fleet.meters.variants() {
            let its = fleet.fleet.variants.iter().find(|variant| variant.name == *name);
            let instances = its.map_or(0, |variant| variant.instances.len());
            self.put(meters, FleetKey::new(endpoint.as_str(), name.as_str(), config, side), instances);
        }
    }

    fn put(&mut self, meters: &Arc<FleetMeters>, key: FleetKey, instances: usize) {
        let known = self.followed.iter_mut().find(|followed| followed.meters.as_ptr() == Arc::as_ptr(meters));
        match known {
            Some(followed) => {
                followed.key = key;
                followed.instances = instances;
            }
            None => self.followed.push(Followed {
                meters: Arc::downgrade(meters),
                key,
                instances,
                reading: Reading::default(),
                latency: HistogramSnapshot::default(),
                first_token: HistogramSnapshot::default(),
                overhead: HistogramSnapshot::default(),
            }),
        }
    }

    async fn only_variant(&mut self, api: &Api, endpoint: &EndpointName) -> String {
        if let Some(known) = self.names.get(endpoint) {
            return known.clone();
        }
        let found = sagemaker::variant_name(&api.handle, endpoint).await;
        let name = found.unwrap_or_else(|| ONLY_VARIANT.to_owned());
        self.names.insert(endpoint.clone(), name.clone());
        name
    }
}

impl Followed {
    fn sample(&mut self, meters: &FleetMeters) -> Sample {
        let reading = meters.read();
        let tally = tally(&self.reading, &reading, self.instances);
        let (mut latency, mut first_chunk, mut overhead) = (None, None, None);
        if reading != self.reading {
            latency = gained(&mut self.latency, meters.latency());
            first_chunk = gained(&mut self.first_token, meters.first_token());
            overhead = gained(&mut self.overhead, meters.overhead());
        }
        let in_flight = reading.dealt.saturating_sub(reading.settled());
        self.reading = reading;
        Sample { tally, latency, first_chunk, overhead, in_flight: Some(in_flight as f64) }
    }
}

/// Requests that never went to an instance are not the model's. A client that went away was served all the same.
fn tally(before: &Reading, now: &Reading, instances: usize) -> Tally {
    let gained = |of: fn(&Reading) -> u64| of(now).saturating_sub(of(before)) as f64;
    let invocations = gained(|reading| {
        reading.succeeded + reading.client_errors + reading.excused + reading.client_gone + reading.failed()
    });
    let status = |class: usize| {
        let of = |reading: &Reading| reading.statuses.get(class).copied().unwrap_or_default();
        of(now).saturating_sub(of(before)) as f64
    };
    Tally {
        invocations,
        client_errors: status(3).min(invocations),
        server_errors: status(4).min(invocations),
        model_errors: gained(|reading| reading.client_errors + reading.excused + reading.failed()),
        per_instance: invocations / instances.max(1) as f64,
        mid_stream_errors: gained(broken_streams).min(invocations),
    }
}

/// Answers that had begun: cut short, stopped, or with the failure inside.
fn broken_streams(reading: &Reading) -> u64 {
    let kinds = [FailureKind::Truncated, FailureKind::IdleTimeout, FailureKind::InBand];
    kinds.iter().filter_map(|kind| reading.failures.get(kind.index())).sum()
}

/// In microseconds, as all latencies of SageMaker are.
fn gained(before: &mut HistogramSnapshot, now: HistogramSnapshot) -> Option<Distribution> {
    let since = now.since(before);
    *before = now;
    let micros = |span: std::time::Duration| span.as_secs_f64() * 1e6;
    let samples = Distribution::of(since.buckets().map(|(edge, count)| (micros(edge), count as f64)))?;
    Some(samples.with_sum(micros(since.sum())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::alarm::Samples as _;

    #[test]
    fn requests_count_once_each_and_errors_are_those_of_the_model() {
        let nothing = Reading::default();
        let mut before = nothing.clone();
        before.succeeded = 10;
        let mut now = nothing.clone();
        (now.dealt, now.succeeded, now.client_errors, now.client_gone, now.shed) = (40, 20, 3, 2, 4);
        now.statuses = [0, 12, 0, 3, 5];
        now.failures[0] = 3;
        now.failures[FailureKind::Truncated.index()] = 2;
        let found = tally(&before, &now, 4);
        let expected = Tally {
            invocations: 20.0,
            client_errors: 3.0,
            server_errors: 5.0,
            model_errors: 8.0,
            per_instance: 5.0,
            mid_stream_errors: 2.0,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn latencies_are_in_microseconds_and_counted_once() {
        let histogram = crate::meter::Histogram::default();
        histogram.record(Duration::from_millis(3));
        let mut snapshot = HistogramSnapshot::default();
        histogram.add_to(&mut snapshot);
        let mut before = HistogramSnapshot::default();
        let samples = gained(&mut before, snapshot.clone()).unwrap();
        assert_eq!((samples.count(), samples.sum()), (1.0, 3_000.0));
        assert!((3_000.0..=3_050.0).contains(&samples.greatest().unwrap()));
        assert_eq!(gained(&mut before, snapshot), None);
    }
}
