//! All metrics: those of fleets, and those that users put.
//!
//! Everything is bounded: how many series there are, how far each resolution reaches back, and what all of it may take, beyond which the past is
//! cut shorter until it fits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Distribution, Stat,
    fleets::{FleetKey, FleetSlot, Fleets, INVOCATIONS_NAMESPACE, Metric, Sample},
    series::Series,
};
use crate::alarm::{Datapoint, Samples};

/// How many series users may have. A pipeline has some tens of business metrics; more is what a time series database is for.
const MOST_SERIES: usize = 1_000;

/// The size of everything, in spans of some hundred bytes: 200 MB at most.
const MOST_UNITS: usize = 2_000_000;

/// The least part of the past that is kept.
const LEAST_PART: f64 = 1.0 / 64.0;

/// A metric by its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct MetricId {
    /// `Namespace`
    pub namespace: String,
    /// `MetricName`
    pub name: String,
    /// `Dimensions`, by name.
    pub dimensions: Vec<(String, String)>,
}

/// What a metric was in spans of equal length.
#[derive(Clone, PartialEq, Debug)]
pub enum Spans {
    /// Its samples.
    Of(Vec<Option<Distribution>>),
    /// Its values are green's less blue's.
    Delta {
        /// Green's samples.
        green: Vec<Option<Distribution>>,
        /// Blue's samples.
        blue: Vec<Option<Distribution>>,
    },
}

/// The metrics.
#[derive(Debug)]
pub struct Store {
    fleets: Fleets,
    /// By their unit too: values of different units are not comparable.
    users: BTreeMap<MetricId, BTreeMap<String, Series<Distribution>>>,
    /// How much of the past is kept.
    part: f64,
}

/// No more series fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are {MOST_SERIES} metrics already, and no more fit: one goes when it had no data for a week")]
pub struct StoreFull;

/// Five minutes of everything, as they outlive the process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    fleets: Vec<FleetSlot>,
    users: Vec<(MetricId, String, Distribution)>,
}

impl MetricId {
    /// With its dimensions in any order.
    pub fn new<'a>(
        namespace: &str,
        name: &str,
        dimensions: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let dimensions = dimensions.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut dimensions: Vec<_> = dimensions.collect();
        dimensions.sort_unstable();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }

    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        self.dimensions.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The metric of the proxy's own that it names.
    pub fn own(&self) -> Option<Metric> {
        Metric::named(&self.name).filter(|_| self.namespace == INVOCATIONS_NAMESPACE)
    }
}

impl Spans {
    /// A statistic of each span; `None` for spans without one.
    pub fn values(&self, stat: Stat) -> Vec<Option<Datapoint>> {
        let value = |samples: &Option<Distribution>| {
            let samples = samples.as_ref()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count is not negative, and one that is too great ends at the end"
            )]
            let count = samples.count().round() as u64;
            Some(Datapoint { value: stat.of(samples)?, samples: count })
        };
        match self {
            Self::Of(spans) => spans.iter().map(value).collect(),
            Self::Delta { green, blue } => {
                let pairs = green.iter().map(value).zip(blue.iter().map(value));
                let delta = |(green, blue): (Option<Datapoint>, Option<Datapoint>)| {
                    let (green, blue) = (green?, blue?);
                    Some(Datapoint {
                        value: green.value - blue.value,
                        samples: green.samples.min(blue.samples),
                    })
                };
                pairs.map(delta).collect()
            }
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { fleets: Fleets::default(), users: BTreeMap::new(), part: 1.0 }
    }
}

impl Store {
    /// Adds what a fleet did in a second. `now` and `second` are in seconds since 1970, as everywhere here.
    pub fn put_fleet(&mut self, key: &FleetKey, second: i64, now: i64, sample: &Sample) {
        self.fleets.put(key, second, now, sample);
    }

    /// Adds samples that a user puts.
    ///
    /// # Errors
    /// When it would be one series too many.
    pub fn put(
        &mut self,
        id: &MetricId,
        unit: &str,
        (second, now): (i64, i64),
        samples: &Distribution,
    ) -> Result<(), StoreFull> {
        let is_known = self.users.get(id).is_some_and(|units| units.contains_key(unit));
        if !is_known && self.users.values().map(BTreeMap::len).sum::<usize>() >= MOST_SERIES {
            return Err(StoreFull);
        }
        let units = self.users.entry(id.clone()).or_default();
        units.entry(unit.to_owned()).or_default().put(second, now, samples);
        Ok(())
    }

    /// What a metric was in `count` spans of `period` seconds from `from` on; `None` where there is no such metric. Without a unit,
    /// samples of all units together.
    pub fn spans(
        &self,
        id: &MetricId,
        unit: Option<&str>,
        (from, period, count): (i64, i64, usize),
        now: i64,
    ) -> Option<Spans> {
        if let Some(own) = self.fleets.spans(id, (from, period, count), now) {
            let fits = id.own().is_some_and(|metric| unit.is_none_or(|unit| unit == metric.unit()));
            return fits.then_some(own);
        }
        let units = self.users.get(id)?;
        let mut sums: Vec<Option<Distribution>> = vec![None; count];
        for (_, series) in units.iter().filter(|(name, _)| unit.is_none_or(|unit| unit == name.as_str())) {
            for (sum, span) in sums.iter_mut().zip(series.spans(from, period, count, now)) {
                match (sum, span) {
                    (Some(sum), Some(span)) => sum.add(&span),
                    (sum @ None, span) => *sum = span,
                    (Some(_), None) => {}
                }
            }
        }
        Some(Spans::Of(sums))
    }

    /// The unit that a metric's samples have; of several the first.
    pub fn unit(&self, id: &MetricId) -> Option<&str> {
        match id.own() {
            Some(metric) => Some(metric.unit()),
            None => self.users.get(id)?.keys().next().map(String::as_str),
        }
    }

    /// Every metric, with the newest second that has a sample.
    pub fn metrics(&self) -> Vec<(MetricId, i64)> {
        let mut all = self.fleets.metrics();
        let users = self
            .users
            .iter()
            .filter_map(|(id, units)| Some((id.clone(), units.values().filter_map(Series::newest).max()?)));
        all.extend(users);
        all.sort();
        all
    }

    /// Forgets what is too old, and more of it while everything together is too large.
    pub fn trim(&mut self, now: i64) {
        self.trim_to(now);
        let units = self.units();
        if units > MOST_UNITS {
            while self.units() > MOST_UNITS && self.part > LEAST_PART {
                self.part /= 2.0;
                self.trim_to(now);
            }
        } else if units < MOST_UNITS / 4 && self.part < 1.0 {
            self.part *= 2.0;
        }
    }

    /// What is to outlive the process of five minutes that are over.
    pub fn kept(&self, begins: i64) -> Kept {
        let users = self.users.iter().flat_map(|(id, units)| {
            units
                .iter()
                .filter_map(|(unit, series)| Some((id.clone(), unit.clone(), series.slot(begins)?.clone())))
        });
        Kept { fleets: self.fleets.slots(begins), users: users.collect() }
    }

    /// Takes in what an earlier process has kept.
    pub fn restore(&mut self, begins: i64, kept: Kept) {
        let Kept { fleets, users } = kept;
        for slot in fleets {
            self.fleets.restore(begins, slot);
        }
        for (id, unit, samples) in users {
            let is_known = self.users.get(&id).is_some_and(|units| units.contains_key(&unit));
            if is_known || self.users.values().map(BTreeMap::len).sum::<usize>() < MOST_SERIES {
                self.users.entry(id).or_default().entry(unit).or_default().restore(begins, &samples);
            }
        }
    }

    fn trim_to(&mut self, now: i64) {
        let part = self.part;
        self.fleets.trim(now, part);
        self.users.retain(|_, units| {
            units.retain(|_, series| {
                series.trim(now, part);
                !series.is_empty()
            });
            !units.is_empty()
        });
    }

    fn units(&self) -> usize {
        let users = self.users.values().flat_map(BTreeMap::values).map(Series::units);
        self.fleets.units() + users.sum::<usize>()
    }
}

impl Kept {
    /// Whether there was anything.
    pub fn is_empty(&self) -> bool {
        let Self { fleets, users } = self;
        fleets.is_empty() && users.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cloudwatch::Tally, fleet::Side};

    const NOW: i64 = 1_800_000_000;

    fn id(more: &[(&str, &str)], name: &str) -> MetricId {
        let dimensions = [("VariantName", "AllTraffic"), ("EndpointName", "chat")];
        MetricId::new(INVOCATIONS_NAMESPACE, name, dimensions.into_iter().chain(more.iter().copied()))
    }

    /// Ten requests of each fleet in the last minute, of which so many got a 500, in so many microseconds.
    fn store() -> Store {
        let mut store = Store::default();
        for (config, side, errors, micros) in
            [("c1", Side::Blue, 1.0, 1_000.0), ("c2", Side::Green, 5.0, 3_000.0)]
        {
            let tally =
                Tally { invocations: 10.0, server_errors: errors, per_instance: 5.0, ..Tally::default() };
            let latency = Distribution::of([(micros, 10.0)]);
            let sample = Sample { tally, latency, first_chunk: None, overhead: None, in_flight: Some(2.0) };
            store.put_fleet(&FleetKey::new("chat", "AllTraffic", config, side), NOW - 30, NOW, &sample);
        }
        store
    }

    fn value(store: &Store, id: &MetricId, stat: &str) -> Option<f64> {
        let spans = store.spans(id, None, (NOW - 60, 60, 1), NOW)?;
        spans.values(Stat::parse(stat).unwrap())[0].map(|point| point.value)
    }

    #[test]
    fn each_set_of_dimensions_has_its_fleets_and_no_other_set_has_any() {
        let store = store();
        let errors = |more: &[(&str, &str)]| value(&store, &id(more, "Invocation5XXErrors"), "Average");
        assert_eq!(errors(&[]), Some(0.3));
        assert_eq!(errors(&[("EndpointConfigName", "c2")]), Some(0.5));
        assert_eq!(errors(&[("EndpointConfigName", "c3")]), None);
        assert_eq!(errors(&[("Fleet", "green")]), Some(0.5));
        assert_eq!(errors(&[("Fleet", "blue")]), Some(0.1));
        assert_eq!(errors(&[("Fleet", "delta")]), Some(0.4));
        assert_eq!(errors(&[("Fleet", "red")]), None);
        assert_eq!(errors(&[("EndpointConfigName", "c2"), ("Fleet", "green")]), None);
        let alone = MetricId::new(INVOCATIONS_NAMESPACE, "Invocations", [("EndpointName", "chat")]);
        assert_eq!(value(&store, &alone, "Sum"), None);
    }

    #[test]
    fn invocations_latencies_and_gauges_have_their_samples_and_units() {
        let store = store();
        for (name, stat, expected) in [
            ("Invocations", "Sum", 20.0),
            ("Invocations", "SampleCount", 20.0),
            ("InvocationsPerInstance", "Sum", 10.0),
            ("Invocation4XXErrors", "Sum", 0.0),
            ("ModelLatency", "Average", 2_000.0),
            ("ModelLatency", "Maximum", 3_000.0),
            ("ConcurrentRequestsPerModel", "Maximum", 2.0),
        ] {
            assert_eq!(value(&store, &id(&[], name), stat), Some(expected), "{name} {stat}");
        }
        let latency = id(&[], "ModelLatency");
        assert_eq!(store.unit(&latency), Some("Microseconds"));
        assert_eq!(store.spans(&latency, Some("Seconds"), (NOW - 60, 60, 1), NOW), None);
        assert_eq!(store.metrics().len(), 8 * 5, "both sets, each configuration, each side");
    }

    #[test]
    fn what_users_put_is_bounded_and_forgotten_after_a_while() {
        let mut store = Store::default();
        let one = Distribution::of([(1.0, 1.0)]).unwrap();
        let named = |name: &str| MetricId::new("Shop", name, [("Kind", "book")]);
        for count in 0..MOST_SERIES {
            store.put(&named(&count.to_string()), "Count", (NOW, NOW), &one).unwrap();
        }
        assert_eq!(store.put(&named("more"), "Count", (NOW, NOW), &one), Err(StoreFull));
        assert_eq!(store.put(&named("1"), "Count", (NOW, NOW), &one), Ok(()));
        store.trim(NOW + 9 * 86_400);
        assert_eq!(store.put(&named("more"), "Count", (NOW, NOW), &one), Ok(()));
    }

    #[test]
    fn what_is_kept_of_five_minutes_is_there_in_the_next_process() {
        let mut before = store();
        let put = MetricId::new("Shop", "Orders", []);
        let orders = Distribution::of([(3.0, 2.0)]).unwrap();
        before.put(&put, "Count", (NOW - 30, NOW), &orders).unwrap();
        let begins = (NOW - 30).div_euclid(300) * 300;
        let text = serde_json::to_string(&before.kept(begins)).unwrap();
        let mut after = Store::default();
        after.restore(begins, serde_json::from_str(&text).unwrap());
        let later = begins + 2 * 86_400;
        let sum = |id: &MetricId| {
            after.spans(id, None, (begins, 300, 1), later).unwrap().values(Stat::parse("Sum").unwrap())[0]
        };
        assert_eq!(sum(&put).map(|point| point.value), Some(6.0));
        assert_eq!(sum(&id(&[], "Invocations")).map(|point| point.value), Some(20.0));
        assert!(Store::default().kept(begins).is_empty());
    }
}
