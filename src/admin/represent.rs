//! From control's views to the wire. Every view is taken apart in full, so that a new field breaks the build until it has its place.

use std::time::Duration;

use super::{explain, standing, wire, words};
use crate::{
    alarm::{
        AlarmEvidence, AlarmState, Budget, Compared, Datapoint, External, ExternalEvidence, GuardBound, Poll,
        Polls, RegressionBound, Rule, SAFE_EVIDENCE, Safety, Source, Threshold, ThresholdEvidence, Tolerance,
        Unit,
    },
    config::{format_bound, format_fraction, format_measure, format_quantile, format_tolerance},
    control::{
        AlarmView, EndpointView, Execution, ExternalView, Fate, FleetView, InstanceView, Lineage, Next,
        ShadowView, ShiftView, Traffic, TrafficWindow, Transition, VariantView,
    },
    meter::Timing,
    route::Miss,
    shift::{Approval, Cause, InService, Rolling, State, Step},
    store::{Event, Hash, Moments, Origin},
    time::{WallTime, format_duration},
    trial::{external_text, threshold_text, value_text},
};

/// An endpoint.
pub(super) fn endpoint(view: EndpointView) -> wire::Endpoint {
    let EndpointView {
        declared,
        origin,
        blue,
        green,
        shadow: dark,
        share,
        generation,
        freeze,
        running_shift,
        queue,
    } = view;
    wire::Endpoint {
        name: declared.name.to_string(),
        origin: match origin {
            Origin::File => "file",
            Origin::Api => "api",
        }
        .to_owned(),
        declared: declared.to_json(),
        share: share.to_string(),
        generation: generation.0,
        blue: fleet(blue),
        green: green.map(fleet),
        shadow: dark.map(shadow),
        freeze: freeze.map(wire::Freeze::from),
        running_shift: running_shift.map(|id| id.to_string()),
        queue: queue.into_iter().map(|view| super::queue::queued(view, Execution::Real)).collect(),
    }
}

/// A shift at `now`. In the answer to a dry run it has no id, since there is no such shift.
pub(super) fn shift(view: ShiftView, execution: Execution, now: WallTime) -> wire::Shift {
    let told = Told {
        explanation: explain::explain(&view, now),
        cause: cause_of(&view),
        failure_budget: view.budget().map(failure_budget),
        instances: view.plan.shift.rolling().map(|rolling| in_service(rolling, &view.state)),
    };
    filled(view, execution, told)
}

/// What is said of a shift as a whole.
struct Told {
    explanation: String,
    cause: Option<wire::Cause>,
    failure_budget: Option<wire::FailureBudget>,
    instances: Option<wire::InService>,
}

#[expect(clippy::too_many_lines, reason = "one line for each property, all in one place")]
fn filled(
    view: ShiftView,
    execution: Execution,
    Told { explanation, cause, failure_budget, instances }: Told,
) -> wire::Shift {
    let ShiftView {
        id,
        endpoint,
        actor,
        blue_version,
        plan,
        lineage: Lineage { undoes, supersedes, superseded_by },
        state,
        step,
        share,
        share_got,
        started_at,
        moments: Moments { breach_at, decided_at, published_at, last_green_dispatch_at, drained_at, ended_at },
        decision,
        publish_to_last_green_dispatch,
        green_responses_to_decision,
        green_in_flight_at_decision,
        // Part of the explanation and of its change of state.
        blue_short: _,
        fate,
        restarts,
        alarms,
        thresholds,
        externals,
        safety,
        blue,
        green,
        blue_recent,
        green_recent,
        held,
        held_until,
        next: Next { what, at },
        transitions,
        findings,
        forecast,
    } = view;
    wire::Shift {
        id: (execution == Execution::Real).then(|| id.to_string()),
        endpoint: endpoint.to_string(),
        actor,
        state: state.as_str().to_owned(),
        over: state.is_terminal(),
        instances,
        blue_version: blue_version.to_string(),
        green_version: plan.green.version.to_string(),
        undoes: undoes.map(|id| id.to_string()),
        supersedes: supersedes.map(|id| id.to_string()),
        superseded_by: superseded_by.map(|id| id.to_string()),
        plan: plan.to_json(),
        steps: plan.shift.steps().iter().map(self::step).collect(),
        step: step.map(|index| index + 1),
        share: share.to_string(),
        share_got,
        cause,
        started_at: started_at.to_string(),
        breach_at: moment(breach_at),
        decided_at: moment(decided_at),
        published_at: moment(published_at),
        last_green_dispatch_at: moment(last_green_dispatch_at),
        drained_at: moment(drained_at),
        ended_at: moment(ended_at),
        decision_ms: decision.map(millis),
        publish_to_last_green_dispatch_ms: publish_to_last_green_dispatch.map(millis),
        green_responses_to_decision,
        green_in_flight_at_decision,
        open_requests: fate.map(open_requests),
        restarts,
        failure_budget,
        alarms: alarms.into_iter().map(alarm).collect(),
        thresholds: thresholds.iter().map(threshold).collect(),
        externals: externals.into_iter().map(external).collect(),
        safety: safety.map(self::safety),
        fleets: fleets((blue, &blue_recent), (green, &green_recent)),
        held,
        held_until: moment(held_until),
        next: wire::Next { what, at: moment(at) },
        transitions: transitions.into_iter().map(transition).collect(),
        findings: findings.into_iter().map(wire::Finding::from).collect(),
        forecast: forecast.map(wire::Forecast::from),
        explanation,
    }
}

fn moment(at: Option<WallTime>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn open_requests(fate: Fate) -> wire::OpenRequests {
    let Fate { open, late, finished, rescued, failed, client_gone, running, cut } = fate;
    wire::OpenRequests { open, late, finished, rescued, failed, client_gone, running, cut }
}

fn failure_budget(budget: Budget) -> wire::FailureBudget {
    let Budget { failures, max_failures } = budget;
    wire::FailureBudget { failures, max_failures, nearness: budget.nearness() }
}

fn safety(safety: Safety) -> wire::Safety {
    let Safety { requests, failures, ln_e, is_enough: _ } = safety;
    wire::Safety { requests, failures, ln_e, needed_ln_e: SAFE_EVIDENCE, shown: safety.is_shown() }
}

fn fleets(blue: (Traffic, &TrafficWindow), green: (Traffic, &TrafficWindow)) -> wire::Fleets {
    let of = |(counts, window)| wire::ShiftFleet { traffic: traffic(counts), recent: recent(window) };
    wire::Fleets { blue: of(blue), green: of(green) }
}

/// An event.
pub(super) fn event(event: Event) -> wire::Event {
    let Event {
        id,
        at,
        kind,
        endpoint,
        shift,
        before,
        after,
        share,
        actor,
        peer,
        cause,
        reason,
        evidence,
        hash,
    } = event;
    wire::Event {
        id,
        at: at.to_string(),
        kind,
        endpoint: endpoint.map(|name| name.to_string()),
        shift: shift.map(|id| id.to_string()),
        before,
        after,
        share: share.map(|share| share.to_string()),
        actor,
        peer,
        cause,
        reason,
        evidence,
        hash: (hash != Hash::NONE).then(|| hash.to_string()),
    }
}

fn fleet(view: FleetView) -> wire::Fleet {
    // The side is the field that the fleet stands in.
    let FleetView {
        side: _,
        version,
        desired,
        instances,
        variants,
        waiting,
        traffic: counts,
        recent: window,
    } = view;
    wire::Fleet {
        version: version.to_string(),
        desired,
        instances: instances.into_iter().map(instance).collect(),
        variants: variants.into_iter().map(variant).collect(),
        waiting,
        traffic: traffic(counts),
        recent: recent(&window),
    }
}

fn shadow(view: ShadowView) -> wire::Shadow {
    let ShadowView { name, share, fleet: its, missed } = view;
    let missed = Miss::ALL.into_iter().zip(missed).map(|(miss, count)| (miss.as_str().to_owned(), count));
    wire::Shadow {
        name: name.to_string(),
        share: share.to_string(),
        fleet: fleet(its),
        missed: missed.collect(),
    }
}

fn variant(view: VariantView) -> wire::Variant {
    let VariantView { name, weight, instances, traffic: counts } = view;
    wire::Variant {
        name: name.to_string(),
        weight: weight.as_number(),
        instances: instances.iter().map(ToString::to_string).collect(),
        traffic: traffic(counts),
    }
}

fn instance(view: InstanceView) -> wire::Instance {
    let InstanceView { address, weight, health, is_ejected, in_flight } = view;
    wire::Instance {
        address: address.to_string(),
        weight: weight.get(),
        health: health.as_str().to_owned(),
        ejected: is_ejected,
        in_flight,
    }
}

fn traffic(counts: Traffic) -> wire::Traffic {
    let Traffic {
        requests,
        succeeded,
        client_errors,
        failed,
        failures,
        excused,
        warm_ups,
        client_gone,
        shed,
        retried,
        rescued,
        rescue_failed,
        not_rescued,
        in_flight,
    } = counts;
    wire::Traffic {
        requests,
        succeeded,
        client_errors,
        failed,
        failures: failures
            .into_iter()
            .map(|(kind, count)| (kind.as_str().to_owned(), count.into()))
            .collect(),
        excused,
        warm_ups,
        client_gone,
        shed,
        retried,
        rescued,
        rescue_failed,
        not_rescued,
        in_flight,
    }
}

pub(super) fn recent(window: &TrafficWindow) -> wire::Recent {
    let TrafficWindow {
        span,
        requests,
        rate,
        error_rate,
        p50,
        p99,
        first_byte_p50,
        first_byte_p99,
        first_token_p50,
        first_token_p99,
    } = *window;
    wire::Recent {
        span_ms: millis(span),
        requests,
        rate,
        error_rate,
        p50_ms: p50.map(millis),
        p99_ms: p99.map(millis),
        first_byte_p50_ms: first_byte_p50.map(millis),
        first_byte_p99_ms: first_byte_p99.map(millis),
        first_token_p50_ms: first_token_p50.map(millis),
        first_token_p99_ms: first_token_p99.map(millis),
    }
}

fn step(step: &Step) -> wire::Step {
    let Step { share, bake, approval } = *step;
    wire::Step {
        share: share.to_string(),
        bake: format_duration(bake),
        approval: match approval {
            Approval::Required => true,
            Approval::NotNeeded => false,
        },
    }
}

fn in_service(rolling: &Rolling, state: &State) -> wire::InService {
    let InService { blue, green } = rolling.in_service(state);
    wire::InService {
        blue,
        blue_whole: rolling.sizes.blue.get(),
        green,
        green_whole: rolling.sizes.green.get(),
    }
}

fn cause_of(view: &ShiftView) -> Option<wire::Cause> {
    view.state.cause().map(|why| cause(view, why))
}

fn cause(view: &ShiftView, cause: &Cause) -> wire::Cause {
    let alarm = match cause {
        Cause::Alarm { name, evidence: _ } => Some(name.clone()),
        Cause::FailureBudget { .. }
        | Cause::Aborted
        | Cause::ExecutionTimeout
        | Cause::GreenNotReady { .. }
        | Cause::GreenGone
        | Cause::NoData
        | Cause::Restart
        | Cause::EvaluatorStalled => None,
    };
    wire::Cause { kind: cause.as_str().to_owned(), alarm, text: explain::cause_text(view, cause) }
}

fn alarm(view: AlarmView) -> wire::Alarm {
    let AlarmView { evidence, nearness } = view;
    let odds = standing::odds_text(&evidence);
    let permitted_rate = evidence.rule.permitted();
    // How much data is missing is said in the explanation, where it matters.
    let AlarmEvidence {
        name,
        rule,
        state,
        requests,
        failures,
        recent_requests,
        recent_failures,
        ln_e,
        threshold,
        missing: _,
    } = evidence;
    let Judged { kind, metric, quantile, bound, compared } = judged(&rule);
    let blue_requests = compared.map(|compared| compared.blue_requests);
    let blue_failures = compared.map(|compared| compared.blue_failures);
    wire::Alarm {
        name,
        kind: kind.to_owned(),
        metric: metric.to_owned(),
        quantile,
        bound,
        state: state.as_str().to_owned(),
        requests,
        failures,
        rate: words::ratio(failures, requests),
        recent_requests,
        recent_failures,
        recent_rate: words::ratio(recent_failures, recent_requests),
        blue_requests,
        blue_failures,
        blue_rate: compared.and_then(|compared| words::ratio(compared.blue_failures, compared.blue_requests)),
        permitted_rate,
        // JSON has no infinity.
        ln_e: ln_e.clamp(f64::MIN, f64::MAX),
        threshold,
        nearness,
        odds,
    }
}

fn threshold(evidence: &ThresholdEvidence) -> wire::Threshold {
    let text = threshold_text(evidence);
    let ThresholdEvidence { threshold, state, range, breaching, lacking } = evidence;
    let Threshold {
        name,
        variant,
        measure,
        comparison,
        bound,
        period,
        periods,
        datapoints,
        missing,
        low_samples,
    } = threshold;
    let (metric, statistic) = format_measure(*measure);
    let unit = measure.unit();
    wire::Threshold {
        name: name.clone(),
        variant: variant.as_ref().map(ToString::to_string),
        metric: metric.to_owned(),
        statistic,
        comparison: comparison.as_str().to_owned(),
        bound: format_bound(*bound),
        period: format_duration(*period),
        datapoints: format!("{datapoints} of {periods}"),
        missing: missing.as_str().to_owned(),
        low_samples: low_samples.as_str().to_owned(),
        state: state.as_str().to_owned(),
        value: evidence.newest().map(|newest| value_text(newest.value, unit)),
        breaching: *breaching as u64,
        lacking: *lacking as u64,
        nearness: evidence.nearness(),
        unit: match unit {
            Unit::Time => "seconds",
            Unit::Fraction => "fraction",
            Unit::Count => "count",
        }
        .to_owned(),
        range: range.iter().map(|point| point.map(datapoint)).collect(),
        text,
    }
}

fn external(view: ExternalView) -> wire::External {
    let ExternalView { evidence, lease_ends_at } = view;
    let (text, nearness) = (external_text(&evidence), evidence.nearness());
    let measure = evidence.measure();
    let bound = measure.map(|(query, _)| (query.comparison.as_str().to_owned(), query.bound)).unzip();
    let (comparison, bound) = bound;
    // JSON has no infinity.
    let value = measure.and_then(|(_, value)| value).filter(|value| value.is_finite());
    let ExternalEvidence {
        external: External { name, lease, on_expiry, poll, ignore_raised: _ },
        state,
        source,
        polls,
    } = evidence;
    let (source, reason) = match source {
        Source::Awaited => ("awaited", None),
        Source::Report(reason) => ("report", Some(reason)),
        Source::Expired => ("expired", None),
        Source::Failing => ("failing", None),
        Source::Ignored => ("ignored", None),
    };
    wire::External {
        name,
        state: state.as_str().to_owned(),
        source: source.to_owned(),
        reason,
        lease: format_duration(lease),
        on_expiry: on_expiry.as_str().to_owned(),
        lease_ends_at: lease_ends_at.map(|at| at.to_string()),
        value,
        comparison,
        bound,
        nearness,
        polls: poll.map(|poll| self::polls(&poll, polls)),
        text,
    }
}

fn polls(poll: &Poll, polls: Polls) -> wire::Polls {
    let Polls { answered, failed, failed_in_a_row, last_failure, alarming, value: _ } = polls;
    wire::Polls {
        every: format_duration(poll.every),
        datapoints: format!("{} of {}", poll.datapoints, poll.answers),
        answered,
        failed,
        failed_in_a_row,
        last_failure: (!last_failure.is_empty()).then_some(last_failure),
        alarming: alarming as u64,
    }
}

/// A reported state in the alarms' words.
pub(super) fn reported(state: wire::ReportedState) -> AlarmState {
    match state {
        wire::ReportedState::Ok => AlarmState::Ok,
        wire::ReportedState::Alarm => AlarmState::Alarm,
        wire::ReportedState::InsufficientData => AlarmState::InsufficientData,
    }
}

fn datapoint(point: Datapoint) -> wire::Datapoint {
    let Datapoint { value, samples } = point;
    wire::Datapoint { value, samples }
}

/// A rule in the words of a plan.
struct Judged {
    kind: &'static str,
    metric: &'static str,
    quantile: Option<String>,
    bound: String,
    compared: Option<Compared>,
}

fn judged(rule: &Rule) -> Judged {
    let (kind, compared) = match rule {
        Rule::Guard(_) => ("guard", None),
        Rule::Regression { bound: _, compared } => ("regression", Some(*compared)),
    };
    let (metric, quantile, bound) = match *rule {
        Rule::Guard(GuardBound::ErrorRate { below }) => ("error_rate", None, format_fraction(below)),
        Rule::Guard(GuardBound::Latency { quantile, below }) => {
            ("latency", Some(format_quantile(quantile)), format_duration(below))
        }
        Rule::Guard(GuardBound::FirstToken { quantile, below }) => {
            ("first_token", Some(format_quantile(quantile)), format_duration(below))
        }
        Rule::Guard(GuardBound::TokenGap { quantile, below }) => {
            ("token_gap", Some(format_quantile(quantile)), format_duration(below))
        }
        Rule::Regression { bound: RegressionBound::ErrorRate { tolerance }, .. } => {
            ("error_rate", None, format_tolerance(tolerance))
        }
        Rule::Regression { bound: RegressionBound::ClientErrorRate { tolerance }, .. } => {
            ("client_error_rate", None, format_tolerance(tolerance))
        }
        // Without a quantile in the plan, the one that speaks most against green is told.
        Rule::Regression {
            bound:
                bound @ (RegressionBound::Latency { quantile, ratio }
                | RegressionBound::FirstToken { quantile, ratio }
                | RegressionBound::TokenGap { quantile, ratio }),
            compared,
        } => (
            bound.timing().unwrap_or(Timing::Latency).as_str(),
            quantile.or(compared.quantile).map(format_quantile),
            format_tolerance(Tolerance::Ratio(ratio)),
        ),
    };
    Judged { kind, metric, quantile, bound, compared }
}

fn transition(transition: Transition) -> wire::Transition {
    let Transition { at, before, after, share, actor, cause } = transition;
    wire::Transition { at: at.to_string(), before, after, share: share.to_string(), actor, cause }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}
