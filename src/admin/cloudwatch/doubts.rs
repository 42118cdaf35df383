//! What alarms cannot do although they look as if they could, said where they are defined and where a deployment names them.
//!
//! The commonest defects are AWS's own examples': an average of zeros and ones that is to exceed one, dimensions that no series has, and periods
//! that are longer than the bake in which they are to be seen.

use std::collections::BTreeSet;

use http::HeaderName;

use super::{
    Api, State,
    alarms::{Alarm, Body},
    now,
};
use crate::{
    admin::sagemaker::alarm_key,
    alarm::{Comparison, Statistic},
    cloudwatch::{FLEET_DIMENSION, INVOCATIONS_NAMESPACE, Input, MetricAlarm, MetricId, Stat},
    config::PlanSpec,
    lint::{Finding, Severity},
};

/// What is said of a request that was carried out, for clients whose model of the answer has no place for it.
pub(in crate::admin) const WARNING: HeaderName = HeaderName::from_static("x-snapback-warning");

/// How far back data is looked for.
const LOOK_BACK_SECONDS: i64 = 3 * 3_600;

/// A doubt: what kind, and a sentence.
type Doubt = (&'static str, String);

impl Api {
    /// What an alarm cannot do, whatever deployment names it.
    pub(super) fn doubts(&self, name: &str) -> Vec<Doubt> {
        let state = self.state();
        let Some(alarm) = state.alarms.get(name) else { return Vec::new() };
        alarm.metric().map_or_else(Vec::new, |alarm| of_alarm(&state, alarm))
    }

    /// What the alarms of a plan that are here cannot do in it.
    pub(in crate::admin) fn findings(&self, plan: &PlanSpec) -> Vec<Finding> {
        let state = self.state();
        let mut findings = Vec::new();
        for external in &plan.alarms.externals {
            let found = state.alarms.iter().find(|(name, _)| alarm_key(name) == external.name);
            let Some((name, alarm)) = found else { continue };
            let mut metrics = Vec::new();
            below(&state, name, alarm, &mut BTreeSet::new(), &mut metrics);
            for (name, alarm) in metrics {
                let mut doubts = of_alarm(&state, alarm);
                doubts.extend(of_bakes(alarm, plan));
                findings.extend(doubts.into_iter().map(|(code, message)| Finding {
                    severity: Severity::Warning,
                    code: code.to_owned(),
                    place: format!("alarm {name}"),
                    message,
                    numbers: std::collections::BTreeMap::new(),
                }));
            }
        }
        findings
    }

    /// Of these names, those that no alarm here has: they wait for reports.
    pub(in crate::admin) fn unknown<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let state = self.state();
        names.filter(|name| state.alarms.get(name).is_none()).collect()
    }
}

/// The metric alarms that an alarm comes down to.
fn below<'a>(
    state: &'a State,
    name: &'a str,
    alarm: &'a Alarm,
    seen: &mut BTreeSet<&'a str>,
    found: &mut Vec<(&'a str, &'a MetricAlarm)>,
) {
    if !seen.insert(name) {
        return;
    }
    match &alarm.body {
        Body::Metric(metric) => found.push((name, metric)),
        Body::Composite(rule) => {
            for child in rule.children() {
                if let Some(alarm) = state.alarms.get(child) {
                    below(state, child, alarm, seen, found);
                }
            }
        }
    }
}

fn of_alarm(state: &State, alarm: &MetricAlarm) -> Vec<Doubt> {
    let mut doubts: Vec<_> = cannot_fire(alarm).into_iter().collect();
    doubts.extend(alarm.metrics().filter_map(|(id, stat)| without_data(state, id, stat)));
    doubts
}

/// A rate is never above 1, nor below 0.
fn cannot_fire(alarm: &MetricAlarm) -> Option<Doubt> {
    let Input::Metric { id, stat, .. } = &alarm.input else { return None };
    let is_of_samples = match stat {
        Stat::Of(
            Statistic::Sum | Statistic::SampleCount | Statistic::TrimmedCount(_) | Statistic::TrimmedSum(_),
        ) => false,
        Stat::Of(
            Statistic::Average
            | Statistic::Minimum
            | Statistic::Maximum
            | Statistic::Percentile(_)
            | Statistic::TrimmedMean(_)
            | Statistic::WinsorizedMean(_),
        ) => true,
        Stat::Between(..) | Stat::Rank(_) => false,
    };
    let metric = id.own().filter(|metric| metric.is_rate() && is_of_samples)?;
    let is_delta = id.dimension(FLEET_DIMENSION) == Some("delta");
    let (bound, least) = (alarm.rule.bound, if is_delta { -1.0 } else { 0.0 });
    let never = match alarm.rule.comparison {
        Comparison::Above => bound >= 1.0,
        Comparison::AtLeast => bound > 1.0,
        Comparison::Below => bound <= least,
        Comparison::AtMost => bound < least,
    };
    let name = metric.name();
    never.then(|| {
        let message = format!(
            "it can never be raised: a sample of {name} is 0 or 1, so its average is a rate from {least} to 1, and {bound} is beyond; 1% is 0.01"
        );
        ("alarm_cannot_fire", message)
    })
}

fn without_data(state: &State, id: &MetricId, stat: Stat) -> Option<Doubt> {
    let second = now() / 1_000;
    let from = (second - LOOK_BACK_SECONDS).div_euclid(60) * 60;
    let spans = state.metrics.spans(id, None, (from, LOOK_BACK_SECONDS + 60, 1), second);
    let Some(spans) = spans else {
        return Some(("alarm_without_series", no_series(id)));
    };
    let has = |stat: Stat| spans.values(stat).iter().any(Option::is_some);
    if !has(stat) && has(Stat::Of(Statistic::SampleCount)) {
        let message = "its statistic needs single values, and sets of statistics were put: use Average, Sum, Minimum or Maximum";
        return Some(("alarm_without_statistic", message.to_owned()));
    }
    None
}

fn no_series(id: &MetricId) -> String {
    if id.namespace != INVOCATIONS_NAMESPACE {
        return format!("no {} with these dimensions was put in {} yet", id.name, id.namespace);
    }
    if id.own().is_none() {
        return format!("there is no metric {} in {INVOCATIONS_NAMESPACE} here", id.name);
    }
    let has = |name: &str| id.dimension(name).is_some();
    if !has("EndpointName") || !has("VariantName") || id.dimensions.len() > 3 {
        let names: Vec<_> = id.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        return format!(
            "no series has exactly the dimensions {}: give EndpointName and VariantName, and at most one of EndpointConfigName and Fleet",
            if names.is_empty() { "that it names, which are none".to_owned() } else { names.join(", ") }
        );
    }
    "no request has gone to what its dimensions name yet: mind that names of variants and configurations are exact".to_owned()
}

/// Whether an alarm can be raised before a deployment has gone on.
fn of_bakes(alarm: &MetricAlarm, plan: &PlanSpec) -> Vec<Doubt> {
    let steps = plan.shift.steps();
    let longest = steps.iter().map(|step| step.bake.as_secs()).max().unwrap_or_default();
    let datapoints = i64::try_from(alarm.rule.datapoints).unwrap_or(i64::MAX);
    let needed = alarm.period.saturating_mul(datapoints);
    let mut doubts = Vec::new();
    if needed.unsigned_abs() > longest {
        let (period, looks) = (alarm.period, alarm.cadence());
        doubts.push((
            "alarm_slower_than_bake",
            format!(
                "{datapoints} period(s) of {period} s are {needed} s, and it is looked at every {looks} s, but no bake is longer than {longest} s: \
                 what green does is promoted before it can be raised"
            ),
        ));
    }
    let least = steps.first().map(|step| step.share.as_fraction());
    if let (Some(share), Input::Metric { id, .. }) = (least, &alarm.input)
        && id.dimensions.len() == 2
        && id.own().is_some_and(|metric| metric.is_rate())
        && matches!(alarm.rule.comparison, Comparison::Above | Comparison::AtLeast)
        && share < 1.0
        && alarm.rule.bound >= share
        && alarm.rule.bound < 1.0
    {
        doubts.push((
            "alarm_mixes_fleets",
            format!(
                "it looks at both fleets together, of which green gets {:.0}% at first: if all of that failed, the rate would be {share:.2}, and {} \
                 would not be exceeded; name EndpointConfigName, or Fleet = green",
                share * 100.0,
                alarm.rule.bound
            ),
        ));
    }
    doubts
}
