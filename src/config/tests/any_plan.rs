//! Plans of every kind.

use std::{num::NonZeroU32, time::Duration};

use proptest::{option, prelude::*, sample::select};

use super::round_trip::{fleet, share, span};
use crate::{
    alarm::{
        AlarmPlan, AlarmState, Bound, Comparison, External, Guard, GuardBound, LowSamples, Measure, Method,
        MissingData, Poll, PollUrl, Query, Question, RampRule, Regression, RegressionBound, SAFE_RATIO,
        Statistic, Threshold, Token, Tolerance, Trim, Unit,
    },
    config::PlanSpec,
    meter::WarmUp,
    shift::{
        Approval, Batch, DAYS, IfRunning, NoData, OnRestart, Schedule, ShiftLimits, ShiftPlan, Sizes,
        StartAfter, Step, Strategy as Steps, StrategyKind, Turn, Window,
    },
    time::WallTime,
    weight::Share,
};

prop_compose! {
    fn written_steps()(
        steps in prop::collection::btree_map(1_u16..=10_000, (span(), any::<bool>()), 1..6),
        final_bake in option::of(span()),
    ) -> Steps {
        let step = |(points, (bake, approval))| Step {
            share: Share::from_basis_points(points).unwrap(),
            bake,
            approval: if approval { Approval::Required } else { Approval::NotNeeded },
        };
        let final_bake = final_bake.filter(|_| !steps.contains_key(&10_000));
        Steps::Steps { steps: steps.into_iter().map(step).collect(), final_bake }
    }
}

fn strategy() -> impl Strategy<Value = Steps> {
    prop_oneof![
        span().prop_map(|final_bake| Steps::AllAtOnce { final_bake }),
        (share(1..=9_999), span(), span()).prop_map(|(share, bake, final_bake)| Steps::Canary {
            share,
            bake,
            final_bake
        }),
        (share(500..=10_000), span(), span()).prop_map(|(step, bake, final_bake)| Steps::Linear {
            step,
            bake,
            final_bake
        }),
        (batch(), span(), prop::option::of(batch()))
            .prop_map(|(batch, bake, rollback_batch)| Steps::Rolling { batch, bake, rollback_batch }),
        written_steps(),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    prop_oneof![Just(Batch::Instances(NonZeroU32::MIN)), share(1..=10_000).prop_map(Batch::Part),]
}

prop_compose! {
    fn shift_limits()(
        times in (span(), span(), span()),
        no_data in select(vec![NoData::Hold, NoData::Pass, NoData::Fail]),
        on_restart in select(vec![OnRestart::Continue, OnRestart::RollBack]),
    ) -> ShiftLimits {
        let (termination_wait, drain_timeout, ready_timeout) = times;
        let execution_timeout = Duration::from_secs(365 * 86_400);
        ShiftLimits { execution_timeout, termination_wait, drain_timeout, ready_timeout, no_data, on_restart }
    }
}

fn regression_bound() -> impl Strategy<Value = RegressionBound> {
    let tolerance =
        || prop_oneof![(1.0..=100.0).prop_map(Tolerance::Ratio), (1e-9..1.0).prop_map(Tolerance::Points)];
    let times = || (option::of(1e-9..1.0), prop_oneof![Just(1.0), 1.02..100.0]);
    prop_oneof![
        tolerance().prop_map(|tolerance| RegressionBound::ErrorRate { tolerance }),
        tolerance().prop_map(|tolerance| RegressionBound::ClientErrorRate { tolerance }),
        times().prop_map(|(quantile, ratio)| RegressionBound::Latency { quantile, ratio }),
        times().prop_map(|(quantile, ratio)| RegressionBound::FirstToken { quantile, ratio }),
        times().prop_map(|(quantile, ratio)| RegressionBound::TokenGap { quantile, ratio }),
    ]
}

fn statistic() -> impl Strategy<Value = Statistic> {
    let trim = || {
        prop_oneof![
            (1e-9..=1.0).prop_map(|to| Trim { from: 0.0, to }),
            (1e-9..0.5, 0.5..=1.0).prop_map(|(from, to)| Trim { from, to }),
        ]
    };
    prop_oneof![
        Just(Statistic::Average),
        Just(Statistic::Sum),
        Just(Statistic::Minimum),
        Just(Statistic::Maximum),
        Just(Statistic::SampleCount),
        (1e-9..1.0).prop_map(Statistic::Percentile),
        trim().prop_map(Statistic::TrimmedMean),
        trim().prop_map(Statistic::WinsorizedMean),
        trim().prop_map(Statistic::TrimmedCount),
        trim().prop_map(Statistic::TrimmedSum),
    ]
}

fn measure() -> impl Strategy<Value = Measure> {
    prop_oneof![
        statistic().prop_map(Measure::Latency),
        statistic().prop_map(Measure::FirstByte),
        statistic().prop_map(Measure::FirstToken),
        statistic().prop_map(Measure::TokenGap),
        Just(Measure::ErrorRate),
        Just(Measure::ClientErrorRate),
        Just(Measure::Requests),
        Just(Measure::Failures),
    ]
}

prop_compose! {
    fn threshold()(
        measure in measure(),
        comparison in prop::sample::select(vec![
            Comparison::Above, Comparison::AtLeast, Comparison::Below, Comparison::AtMost
        ]),
        time_nanos in 1_024_u64..4_000_000_000_000,
        fraction in 1e-9..1.0,
        count in 0_u64..=1_000_000_000,
        seconds in 1_u64..100,
        (datapoints, more) in (1_usize..=50, 0_usize..=50),
        missing in prop::sample::select(vec![
            MissingData::Missing, MissingData::Ignore, MissingData::Breaching, MissingData::NotBreaching
        ]),
        low_samples in prop::sample::select(vec![LowSamples::Evaluate, LowSamples::Ignore]),
    ) -> Threshold {
        Threshold {
            name: String::new(),
            variant: None,
            measure,
            comparison,
            bound: match measure.unit() {
                Unit::Time => Bound::Time(Duration::from_nanos(time_nanos)),
                Unit::Fraction => Bound::Fraction(fraction),
                Unit::Count => Bound::Count(count),
            },
            period: Duration::from_secs(seconds),
            periods: datapoints + more,
            datapoints,
            missing,
            low_samples,
        }
    }
}

fn question() -> impl Strategy<Value = Question> {
    let comparison = prop::sample::select(vec![
        Comparison::Above,
        Comparison::AtLeast,
        Comparison::Below,
        Comparison::AtMost,
    ]);
    let query = (comparison, -1e9..1e9, prop::sample::select(AlarmState::ALL.to_vec()));
    let query = query.prop_map(|(comparison, bound, missing)| {
        Question::Prometheus(Query { text: "bad{v=\"$green\"}".to_owned(), comparison, bound, missing })
    });
    prop_oneof![prop::sample::select(vec![Method::Get, Method::Post]).prop_map(Question::Webhook), query]
}

prop_compose! {
    fn poll()(
        question in question(),
        every in 1_u64..=40,
        millis in 100_u64..=60_000,
        answers in 1_usize..=100,
        errors in 1_u32..=100,
        on_error in prop::sample::select(AlarmState::ALL.to_vec()),
        token in option::of(prop_oneof![
            Just(Token::File("/run/token".into())),
            Just(Token::Environment("SNAPBACK_TOKEN_GRADER".to_owned())),
        ]),
        ca in option::of(Just("ca.pem".into())),
    ) -> Poll {
        Poll {
            question,
            url: PollUrl::parse("https://grader:8443/state?of=chat").unwrap(),
            every: Duration::from_secs(every),
            timeout: Duration::from_millis(millis),
            answers,
            datapoints: answers.div_ceil(2),
            errors,
            on_error,
            token,
            ca,
        }
    }
}

/// Times that the histograms can tell from others: 2 us to an hour.
fn resolvable() -> impl Strategy<Value = Duration> {
    (2_000_u64..3_600_000_000_000).prop_map(Duration::from_nanos)
}

prop_compose! {
    fn alarms()(
        bounds in prop::collection::vec(
            (prop_oneof![
                (1e-9..1.0).prop_map(|below| GuardBound::ErrorRate { below }),
                (1e-9..1.0, resolvable()).prop_map(|(quantile, below)| GuardBound::Latency { quantile, below }),
                (1e-9..1.0, resolvable()).prop_map(|(quantile, below)| GuardBound::FirstToken { quantile, below }),
                (1e-9..1.0, resolvable()).prop_map(|(quantile, below)| GuardBound::TokenGap { quantile, below }),
            ], option::of(1_u32..=1_000)),
            0..8,
        ),
        comparisons in prop::collection::vec((regression_bound(), option::of(1_u32..=1_000)), 0..8),
        externals in prop::collection::vec(
            (100_u64..100_000, prop::sample::select(AlarmState::ALL.to_vec()), option::of(poll())), 0..3
        ),
        thresholds in prop::collection::vec(threshold(), 0..4),
        false_alarm in 1e-9..0.5,
        max_failures in option::of(1_u64..=1_000_000_000),
        warm_up in option::of(prop_oneof![
            (1_u32..=100_000).prop_map(WarmUp::Requests),
            span().prop_map(WarmUp::Time),
        ]),
        ramp in option::of((1e-9..1.0, 1_u64..=1_000_000_000)),
    ) -> AlarmPlan {
        let guard = |(place, (bound, burst))| Guard { name: format!("guard_{place}"), bound, burst };
        let regression = |(place, (bound, burst))| Regression { name: format!("regression_{place}"), bound, burst };
        let external = |(place, (seconds, on_expiry, poll)): (usize, (u64, AlarmState, Option<Poll>))| External {
            name: format!("external_{place}"),
            lease: Duration::from_secs(seconds),
            on_expiry,
            poll,
            ignore_raised: place % 2 == 1,
        };
        let threshold = |(place, threshold)| Threshold { name: format!("threshold_{place}"), ..threshold };
        AlarmPlan {
            guards: bounds.into_iter().enumerate().map(guard).collect(),
            regressions: comparisons.into_iter().enumerate().map(regression).collect(),
            externals: externals.into_iter().enumerate().map(external).collect(),
            thresholds: thresholds.into_iter().enumerate().map(threshold).collect(),
            false_alarm,
            max_failures,
            warm_up,
            ramp: ramp.map(|(margin, requests)| RampRule { margin, requests }),
        }
    }
}

prop_compose! {
    fn window()(
        days in prop::sample::subsequence(DAYS.to_vec(), 1..=7),
        from in 0..1440_i16,
        hours in 1..1440_i16,
        zone in select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    ) -> Window {
        let part = |part: i16| i8::try_from(part).unwrap();
        let time = |minutes: i16| jiff::civil::time(part(minutes / 60), part(minutes % 60), 0, 0);
        let to = (from + hours < 1440).then(|| time(from + hours));
        let days: Vec<_> = days.into_iter().map(|(_, day)| day).collect();
        Window::new(&days, time(from), to, jiff::tz::TimeZone::get(zone).unwrap()).unwrap()
    }
}

prop_compose! {
    fn schedule()(
        start_at in option::of(0..4_000_000_000_000_i64),
        allowed_hours in prop::collection::vec(window(), 0..3),
    ) -> Schedule {
        Schedule { start_at: start_at.map(WallTime::from_millis), allowed_hours }
    }
}

prop_compose! {
    fn turn()(if_running in select(IfRunning::ALL.to_vec()), start_after in select(StartAfter::ALL.to_vec())) -> Turn {
        Turn { if_running, start_after }
    }
}

prop_compose! {
    pub(super) fn plan()(green in fleet(), strategy in strategy(), limits in shift_limits(), alarms in alarms(), turn in turn(), schedule in schedule()) -> PlanSpec {
        let rolls = matches!(strategy, Steps::Rolling { .. });
        let termination_wait = if rolls { Duration::ZERO } else { limits.termination_wait };
        let shift = ShiftPlan::new(strategy, ShiftLimits { termination_wait, ..limits }).unwrap();
        let size = u32::try_from(green.instances.len()).ok().and_then(NonZeroU32::new);
        let sized = size.map(|size| shift.clone().sized(Sizes { blue: size, green: size }).unwrap());
        let shift = sized.unwrap_or(shift);
        // A regression needs a blue that takes traffic.
        let compares = shift.steps().iter().any(|step| step.share < Share::ALL && !step.bake.is_zero());
        let regressions = if compares { alarms.regressions } else { Vec::new() };
        // A threshold needs the time to be raised.
        let longest = shift.steps().iter().map(|step| step.bake).max().unwrap_or_default();
        // A step that may end early needs one below 100%, an alarm on failures, and tolerances that can be shown to be kept.
        let of_errors = |guard: &Guard| matches!(guard.bound, GuardBound::ErrorRate { .. });
        let fits = |regression: &Regression| match regression.bound {
            RegressionBound::Latency { ratio, .. }
            | RegressionBound::FirstToken { ratio, .. }
            | RegressionBound::TokenGap { ratio, .. } => ratio >= SAFE_RATIO,
            RegressionBound::ErrorRate { .. } | RegressionBound::ClientErrorRate { .. } => true,
        };
        let fit = compares && alarms.guards.iter().any(of_errors) && regressions.iter().all(fits);
        let ramps = !matches!(shift.kind(), StrategyKind::AllAtOnce | StrategyKind::Rolling);
        let ramp = alarms.ramp.filter(|_| fit && ramps);
        let mut thresholds = alarms.thresholds;
        thresholds.retain(|threshold| threshold.shortest() <= longest);
        PlanSpec { green, shift, alarms: AlarmPlan { regressions, thresholds, ramp, ..alarms }, turn, schedule }
    }
}
