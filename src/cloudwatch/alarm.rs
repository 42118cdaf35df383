//! Metric alarms: a statistic of a metric, or an expression over some, evaluated by [`ThresholdAlarm`].
//!
//! An alarm is looked at as often as CloudWatch does: every minute where its period is a minute or more, every ten seconds where it is shorter,
//! and, which CloudWatch has not, at the end of each period below ten seconds. Its periods end at the look and slide with it, so a period of
//! five minutes is judged every minute.

use std::collections::BTreeMap;

use super::{Math, MathError, MetricId, Stat, Store};
use crate::alarm::{AlarmState, Comparison, Datapoint, ThresholdAlarm, ThresholdRule};

/// The longest time between two looks, and that of high-resolution alarms.
const EVERY_SECONDS: i64 = 60;
const EVERY_SECONDS_FINE: i64 = 10;

/// So many datapoints are told of in a reason.
const SHOWN: usize = 5;

/// What an alarm looks at.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A metric.
    Metric {
        /// Which.
        id: MetricId,
        /// What is made of its samples.
        stat: Stat,
        /// Only samples of this unit.
        unit: Option<String>,
    },
    /// Something over other inputs.
    Math(Math),
}

/// An alarm's definition.
#[derive(Clone, PartialEq, Debug)]
pub struct MetricAlarm {
    /// What is compared.
    pub input: Input,
    /// What its expression names.
    pub others: BTreeMap<String, Input>,
    /// In seconds.
    pub period: i64,
    /// The bound and how many datapoints must breach it.
    pub rule: ThresholdRule,
}

/// What a look came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluated {
    /// The state from now on.
    pub state: AlarmState,
    /// Why, in CloudWatch's words.
    pub reason: String,
    /// Beginning and datapoint of the periods that were looked at, the newest last.
    pub range: Vec<(i64, Option<Datapoint>)>,
}

impl MetricAlarm {
    /// How often it is looked at, in seconds.
    pub fn cadence(&self) -> i64 {
        match self.period {
            period if period >= EVERY_SECONDS => EVERY_SECONDS,
            period if period >= EVERY_SECONDS_FINE => EVERY_SECONDS_FINE,
            period => period.max(1),
        }
    }

    /// The metrics that it looks at.
    pub fn metrics(&self) -> impl Iterator<Item = (&MetricId, Stat)> {
        let inputs = std::iter::once(&self.input).chain(self.others.values());
        inputs.filter_map(|input| match input {
            Input::Metric { id, stat, unit: _ } => Some((id, *stat)),
            Input::Math(_) => None,
        })
    }

    /// The newest datapoints of `count` periods that end at `ends`.
    ///
    /// # Errors
    /// When its expression cannot be worked out.
    pub fn datapoints(
        &self,
        store: &Store,
        (ends, count): (i64, usize),
        now: i64,
    ) -> Result<Vec<Option<Datapoint>>, MathError> {
        let length = self.period.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
        let window = (ends.saturating_sub(length), self.period, count);
        Worked::new(&self.others, store, window, now).values(&self.input)
    }

    /// Looks at the periods that end at `ends`, for an alarm that was in a state before.
    pub fn evaluate(&self, store: &Store, before: AlarmState, ends: i64, now: i64) -> Evaluated {
        let mut alarm = ThresholdAlarm::new(self.rule);
        alarm.resume(before);
        let count = alarm.range_length();
        let range = match self.datapoints(store, (ends, count), now) {
            Ok(range) => range,
            Err(error) => {
                let state = AlarmState::InsufficientData;
                return Evaluated { state, reason: error.to_string(), range: Vec::new() };
            }
        };
        let state = alarm.look(range.iter().copied());
        let first = ends - self.period * i64::try_from(count).unwrap_or_default();
        let begins = (0..).map(|index| first + self.period * index);
        let range: Vec<_> = begins.zip(range).collect();
        let breaching = alarm.breaching();
        Evaluated { state, reason: self.reason(state, &range, breaching), range }
    }

    /// `Threshold Crossed: 1 out of the last 1 datapoints [20.0 (25/11/26 12:00:00)] was greater than the threshold (10.0) (...).`
    fn reason(&self, state: AlarmState, range: &[(i64, Option<Datapoint>)], breaching: usize) -> String {
        let ThresholdRule { comparison, bound, periods, datapoints, .. } = self.rule;
        let real: Vec<_> = range.iter().rev().filter_map(|(at, point)| Some((*at, (*point)?))).collect();
        let evaluated: Vec<_> = real.into_iter().take(periods).collect();
        if evaluated.is_empty() {
            let (points, were) = if periods == 1 { ("datapoint", "was") } else { ("datapoints", "were") };
            return match state {
                AlarmState::InsufficientData => {
                    format!("Insufficient Data: {periods} {points} {were} unknown.")
                }
                AlarmState::Ok => format!(
                    "Threshold Crossed: no datapoints were received for {periods} period(s) and missing datapoints were treated as [NonBreaching]."
                ),
                AlarmState::Alarm => format!(
                    "Threshold Crossed: no datapoints were received for {periods} period(s) and missing datapoints were treated as [Breaching]."
                ),
            };
        }
        let breaches = |point: &Datapoint| comparison.breaches(point.value, bound);
        let wanted = state == AlarmState::Alarm;
        let told = evaluated.iter().filter(|(_, point)| breaches(point) == wanted);
        let told: Vec<_> =
            told.take(SHOWN).map(|(at, point)| format!("{:?} ({})", point.value, moment(*at))).collect();
        let shown = told.join(", ");
        let side = match comparison {
            Comparison::Above => "greater than",
            Comparison::AtLeast => "greater than or equal to",
            Comparison::Below => "less than",
            Comparison::AtMost => "less than or equal to",
        };
        match state {
            AlarmState::Alarm => {
                let was = if breaching == 1 { "was" } else { "were" };
                let plural = if datapoints == 1 { "" } else { "s" };
                format!(
                    "Threshold Crossed: {breaching} out of the last {periods} datapoints [{shown}] {was} {side} the threshold ({bound:?}) \
                     (minimum {datapoints} datapoint{plural} for OK -> ALARM transition)."
                )
            }
            AlarmState::Ok | AlarmState::InsufficientData => {
                let count = evaluated.len() - breaching.min(evaluated.len());
                let (points, was) = if count == 1 { ("datapoint", "was") } else { ("datapoints", "were") };
                format!(
                    "Threshold Crossed: {count} {points} [{shown}] {was} not {side} the threshold ({bound:?})."
                )
            }
        }
    }
}

/// Inputs worked out over one window, each once, in whatever order they name each other.
pub(super) struct Worked<'a> {
    others: &'a BTreeMap<String, Input>,
    store: &'a Store,
    window: (i64, i64, usize),
    now: i64,
    /// What each id came to; nothing while it is being worked out, so that what names itself finds nothing.
    known: BTreeMap<&'a str, Option<Vec<Option<f64>>>>,
}

impl<'a> Worked<'a> {
    /// `others` are what expressions may name; the window is its beginning, the period and the number of periods.
    pub(super) fn new(
        others: &'a BTreeMap<String, Input>,
        store: &'a Store,
        window: (i64, i64, usize),
        now: i64,
    ) -> Self {
        Self { others, store, window, now, known: BTreeMap::new() }
    }

    pub(super) fn values(&mut self, input: &'a Input) -> Result<Vec<Option<Datapoint>>, MathError> {
        let (_, period, count) = self.window;
        let math = match input {
            Input::Metric { id, stat, unit } => {
                let spans = self.store.spans(id, unit.as_deref(), self.window, self.now);
                return Ok(spans.map_or_else(|| vec![None; count], |spans| spans.values(*stat)));
            }
            Input::Math(math) => math,
        };
        for id in math.ids() {
            let Some((id, other)) = self.others.get_key_value(id) else { continue };
            if self.known.contains_key(id.as_str()) {
                continue;
            }
            self.known.insert(id, None);
            let values = self.values(other)?;
            self.known.insert(id, Some(values.into_iter().map(|point| Some(point?.value)).collect()));
        }
        let values = math.values((period, count), &|id: &str| self.known.get(id).cloned().flatten())?;
        Ok(values.into_iter().map(|value| Some(Datapoint { value: value?, samples: 1 })).collect())
    }
}

fn moment(second: i64) -> String {
    let moment = jiff::Timestamp::from_second(second).unwrap_or_default();
    moment.strftime("%d/%m/%y %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alarm::{LowSamples, MissingData, Statistic},
        cloudwatch::Distribution,
    };

    const NOW: i64 = 1_800_000_000;

    fn alarm(period: i64, periods: usize, missing: MissingData) -> MetricAlarm {
        let rule = ThresholdRule {
            statistic: Statistic::Average,
            comparison: Comparison::Above,
            bound: 10.0,
            periods,
            datapoints: periods,
            missing,
            low_samples: LowSamples::Evaluate,
        };
        let id = MetricId::new("Shop", "Wait", []);
        let stat = Stat::parse("Average").unwrap();
        MetricAlarm { input: Input::Metric { id, stat, unit: None }, others: BTreeMap::new(), period, rule }
    }

    fn store(values: &[(i64, f64)]) -> Store {
        let mut store = Store::default();
        for (ago, value) in values {
            let samples = Distribution::of([(*value, 1.0)]).unwrap();
            store.put(&MetricId::new("Shop", "Wait", []), "None", (NOW - ago, NOW), &samples).unwrap();
        }
        store
    }

    #[test]
    fn a_breach_of_every_period_raises_it_and_is_told_in_cloudwatchs_words() {
        let one = alarm(60, 1, MissingData::Missing);
        let found = one.evaluate(&store(&[(30, 20.0)]), AlarmState::Ok, NOW, NOW);
        assert_eq!(found.state, AlarmState::Alarm);
        assert_eq!(
            found.reason,
            "Threshold Crossed: 1 out of the last 1 datapoints [20.0 (15/01/27 07:59:00)] was greater than the threshold (10.0) (minimum \
             1 datapoint for OK -> ALARM transition)."
        );
        let calm = one.evaluate(&store(&[(30, 2.5)]), AlarmState::Alarm, NOW, NOW);
        assert_eq!(calm.state, AlarmState::Ok);
        assert_eq!(
            calm.reason,
            "Threshold Crossed: 1 datapoint [2.5 (15/01/27 07:59:00)] was not greater than the threshold (10.0)."
        );
        let two = alarm(60, 2, MissingData::Missing);
        let half = two.evaluate(&store(&[(30, 20.0), (90, 1.0)]), AlarmState::Ok, NOW, NOW);
        assert_eq!(half.state, AlarmState::Ok);
    }

    #[test]
    fn without_data_the_setting_decides() {
        for (missing, state, said) in [
            (
                MissingData::Missing,
                AlarmState::InsufficientData,
                "Insufficient Data: 1 datapoint was unknown.",
            ),
            (MissingData::Breaching, AlarmState::Alarm, "treated as [Breaching]."),
            (MissingData::NotBreaching, AlarmState::Ok, "treated as [NonBreaching]."),
        ] {
            let found = alarm(60, 1, missing).evaluate(&store(&[]), AlarmState::Ok, NOW, NOW);
            assert_eq!(found.state, state);
            assert!(found.reason.ends_with(said), "{}", found.reason);
        }
    }

    #[test]
    fn periods_slide_with_the_looks_and_those_of_seconds_are_short() {
        assert_eq!(
            [1, 5, 10, 30, 60, 300].map(|period| alarm(period, 1, MissingData::Missing).cadence()),
            [1, 5, 10, 10, 60, 60]
        );
        let fine = alarm(1, 2, MissingData::Missing);
        let store = store(&[(1, 20.0), (2, 20.0), (4, 1.0)]);
        assert_eq!(fine.evaluate(&store, AlarmState::Ok, NOW, NOW).state, AlarmState::Alarm);
        assert_eq!(fine.evaluate(&store, AlarmState::Ok, NOW - 2, NOW).state, AlarmState::Ok);
    }

    #[test]
    fn an_expression_over_metrics_is_judged_like_a_metric() {
        let mut ratio = alarm(60, 1, MissingData::Missing);
        let metric = ratio.input.clone();
        ratio.others = BTreeMap::from([
            ("m1".to_owned(), metric),
            ("e1".to_owned(), Input::Math(Math::parse("m1 * 2").unwrap())),
        ]);
        ratio.input = Input::Math(Math::parse("e1 + 1").unwrap());
        assert_eq!(ratio.evaluate(&store(&[(30, 5.0)]), AlarmState::Ok, NOW, NOW).state, AlarmState::Alarm);
        assert_eq!(ratio.metrics().count(), 1);
        ratio.others.insert("e1".to_owned(), Input::Math(Math::parse("e1").unwrap()));
        let found = ratio.evaluate(&store(&[(30, 5.0)]), AlarmState::Ok, NOW, NOW);
        assert_eq!(found.state, AlarmState::InsufficientData, "what names itself ends: {}", found.reason);
    }
}
