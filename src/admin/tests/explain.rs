//! Every sentence of an explanation, word for word.

use std::time::Duration;

use super::{
    super::explain::{cause_text, explain},
    fixture::{NOW, alarms, error_rate, external, later, p99, threshold, transition, view},
};
use crate::{
    alarm::{
        AlarmEvidence, AlarmState, Compared, GuardBound, RampRule, RegressionBound, Rule, Safety, Source,
        Tolerance,
    },
    config::PlanSpec,
    control::{Fate, Next, ShiftView, Traffic, TrafficWindow},
    meter::WarmUp,
    shift::{Back, Cause, Pace, PauseReason, State},
    store::Moments,
    time::Moment,
    weight::Share,
};

const SOMETIME: Moment = Moment::from_nanos(1);

#[track_caller]
fn says(view: &ShiftView, expected: &str) {
    assert_eq!(explain(view, NOW), expected);
}

fn lacking(evidence: AlarmEvidence, missing: u64) -> AlarmEvidence {
    AlarmEvidence { state: AlarmState::InsufficientData, missing, ..evidence }
}

fn raised() -> AlarmEvidence {
    AlarmEvidence {
        state: AlarmState::Alarm,
        requests: 41,
        failures: 7,
        ln_e: f64::ln(12_345.0),
        ..error_rate()
    }
}

fn rolled_back(cause: Cause) -> ShiftView {
    view(State::RolledBack { cause })
}

#[test]
fn preparing_says_what_is_awaited_and_until_when() {
    let mut view = view(State::Preparing { ready_by: SOMETIME });
    view.next.at = Some(later(270));
    says(
        &view,
        "Preparing: green (v2) must be ready before it gets its first 25%, and gets nothing yet. If that takes more than another 4 \
         min 30 s, the shift rolls back.",
    );
}

#[test]
fn a_warm_up_is_told_while_it_lasts_and_after() {
    let mut view = view(State::Holding { step: 0 });
    let said = |view: &ShiftView| explain(view, NOW);
    assert!(!said(&view).contains("warm"));
    view.plan.alarms.warm_up = Some(WarmUp::Requests(50));
    let all = 50 * view.plan.green.instances.len() as u64;
    view.green.warm_ups = 37;
    let told = format!(
        "Green warms up: 37 of {all} warm-up requests so far, counted but not judged by how long they take."
    );
    assert!(said(&view).contains(&told), "{}", said(&view));
    view.green.warm_ups = all;
    let told =
        format!("Green is warm: its first {all} requests were counted but not judged by how long they take.");
    assert!(said(&view).contains(&told), "{}", said(&view));
    view.plan.alarms.warm_up = Some(WarmUp::Time(Duration::from_secs(30)));
    view.green.warm_ups = 41;
    let told =
        "Requests of each instance's first 30 s are counted but not judged by how long they take: 41 so far.";
    assert!(said(&view).contains(told), "{}", said(&view));
}

#[test]
fn baking_says_how_near_its_early_end_is() {
    let mut view = view(State::Baking { step: 1, ends: SOMETIME });
    view.plan.alarms.ramp = Some(RampRule { margin: 0.005, requests: 500 });
    for (ln_e, is_enough, told) in [
        (2.0_f64.ln(), true, "odds of 2 : 1 so far that it is, needed 20 : 1."),
        (-1.0, false, "no evidence so far that it is, needed 20 : 1 and 120 of 500 requests."),
    ] {
        view.safety = Some(Safety { requests: 120, failures: 0, ln_e, is_enough });
        let told = format!("The step ends early once green is shown to be within every bound: {told}");
        assert!(explain(&view, NOW).contains(&told), "{}", explain(&view, NOW));
    }
}

#[test]
fn baking_says_the_share_wanted_and_got_the_nearest_alarm_and_what_is_next() {
    says(
        &view(State::Baking { step: 1, ends: SOMETIME }),
        "Baking step 2 of 4: green (v2) is to get 50% and has had 50% of the requests since. No alarm is raised; nearest is guard \
         error_rate: 2 of green's 804 requests failed (0.249%), permitted below 1%; odds of 3.4 : 1 against chance, needed 2,000 \
         : 1. 2 failures of green reached clients; the shift ends at 50. Next, in 1 min 20 s: step 3 of 4: 75% to green.",
    );
}

#[test]
fn a_regression_tells_blues_side() {
    let mut view = view(State::Baking { step: 1, ends: SOMETIME });
    let compared = Compared { blue_requests: 5_508, blue_failures: 31, quantile: None, times: None };
    let regression = |bound, compared| AlarmEvidence {
        name: "worse".to_owned(),
        rule: Rule::Regression { bound, compared },
        failures: 28,
        requests: 612,
        ..error_rate()
    };
    let ratio = RegressionBound::ErrorRate { tolerance: Tolerance::Ratio(1.5) };
    view.alarms = alarms([regression(ratio, compared)]);
    assert!(
        explain(&view, NOW).contains(
            "Regression worse is not raised: 28 of green's 612 requests failed (4.58%), so did 31 of blue's 5,508 requests (0.563%), \
             1.5 times blue's rate permitted; odds of"
        ),
        "{}",
        explain(&view, NOW)
    );
    let times = Some((Duration::from_millis(148), Duration::from_millis(123)));
    let slow = Compared { quantile: Some(0.95), times, ..compared };
    view.alarms = alarms([regression(RegressionBound::Latency { quantile: None, ratio: 1.2 }, slow)]);
    assert!(
        explain(&view, NOW).contains(
            "28 of green's 612 requests took 148 ms or longer, 1.2 times blue's p95 (4.58%), 31 of blue's 5,508 requests took 123 \
             ms or longer (0.563%); odds of"
        ),
        "{}",
        explain(&view, NOW)
    );
}

#[test]
fn alarms_on_tokens_speak_of_streams() {
    let mut view = view(State::Baking { step: 1, ends: SOMETIME });
    let compared = Compared {
        blue_requests: 5_508,
        blue_failures: 31,
        quantile: Some(0.95),
        times: Some((Duration::from_millis(148), Duration::from_millis(123))),
    };
    let (quantile, below) = (0.95, Duration::from_millis(80));
    let against = |bound| Rule::Regression { bound, compared };
    for (rule, told) in [
        (
            Rule::Guard(GuardBound::FirstToken { quantile, below }),
            "28 of green's 612 streams waited 80 ms or longer for the first token (4.58%), permitted at most 5%",
        ),
        (
            Rule::Guard(GuardBound::TokenGap { quantile, below }),
            "4.58% of the gaps between tokens in green's 612 streams were 80 ms or longer, permitted at most 5%",
        ),
        (
            against(RegressionBound::FirstToken { quantile: None, ratio: 1.2 }),
            "28 of green's 612 streams had their first token after 148 ms or longer, 1.2 times blue's p95 (4.58%), 31 of blue's 5,508 \
             streams had theirs after 123 ms or longer (0.563%)",
        ),
        (
            against(RegressionBound::TokenGap { quantile: None, ratio: 1.0 }),
            "28 of green's 612 streams had their tokens apart by 148 ms or longer, blue's p95 (4.58%), 31 of blue's 5,508 streams had \
             theirs apart by 123 ms or longer (0.563%)",
        ),
    ] {
        view.alarms = alarms([AlarmEvidence { rule, failures: 28, requests: 612, ..error_rate() }]);
        assert!(explain(&view, NOW).contains(told), "{}", explain(&view, NOW));
    }
}

#[test]
fn a_single_alarm_is_named_and_no_evidence_is_called_that() {
    let mut view = view(State::Baking { step: 1, ends: SOMETIME });
    view.alarms = alarms([p99()]);
    view.share_got = None;
    view.next.at = Some(NOW);
    says(
        &view,
        "Baking step 2 of 4: green (v2) is to get 50% and has had no request since. Guard p99 is not raised: none of green's 804 \
         requests took 250 ms or longer, permitted at most 1%; no evidence against green, needed 2,000 : 1. 2 failures of green reached clients; the shift ends at 50. Next, due now: step 3 \
         of 4: 75% to green.",
    );
    view.alarms = Vec::new();
    view.plan.alarms.max_failures = None;
    view.next.at = None;
    says(
        &view,
        "Baking step 2 of 4: green (v2) is to get 50% and has had no request since. The plan has no alarms. Next: step 3 of 4: 75% \
         to green.",
    );
}

#[test]
fn holding_says_which_alarms_lack_how_many_requests_and_how_long_that_takes() {
    let mut view = view(State::Holding { step: 1 });
    view.alarms = alarms([lacking(error_rate(), 12), lacking(p99(), 1_200)]);
    says(
        &view,
        "Holding at step 2 of 4: the bake is over, but guard error_rate needs 12 more of green's requests and guard p99 needs 1,200 \
         more before the shift can go on. Green (v2) keeps 50%. At green's 3.2 requests a second that takes about 6 min 15 s.",
    );
    view.alarms = alarms([error_rate(), lacking(p99(), 1)]);
    view.green_recent = TrafficWindow::default();
    says(
        &view,
        "Holding at step 2 of 4: the bake is over, but guard p99 needs 1 more of green's requests before the shift can go on. Green \
         (v2) keeps 50%. Green gets no requests at present.",
    );
}

#[test]
fn holding_without_a_lacking_alarm_says_what_was_seen_last() {
    says(
        &view(State::Holding { step: 1 }),
        "Holding at step 2 of 4: the bake is over, but the alarms had too little data when last looked at. Green (v2) keeps 50%.",
    );
}

#[test]
fn a_pause_says_who_made_it_and_which_ways_lead_out() {
    let reason = PauseReason::Operator;
    let mut view = view(State::Paused { step: 1, remaining: Duration::from_secs(80), reason });
    view.alarms = alarms([lacking(error_rate(), 3)]);
    view.transitions = vec![transition("paused", "ben", "pause"), transition("baking", "ben", "resume")];
    says(
        &view,
        "Paused at step 2 of 4 by ben, with 1 min 20 s of its bake left: green (v2) keeps 50%, and the alarms go on. No alarm is \
         raised, but guard error_rate needs 3 more of green's requests before it can tell. 2 failures of green reached clients; the shift ends at 50. Resume goes on with the bake; promote \
         skips the remaining bakes; abort rolls back.",
    );
}

#[test]
fn waiting_for_approval_says_what_resuming_would_do() {
    let reason = PauseReason::Approval;
    let mut view = view(State::Paused { step: 1, remaining: Duration::ZERO, reason });
    view.alarms = alarms([raised(), p99()]);
    says(
        &view,
        "Waiting for approval at step 2 of 4: the bake is over, green (v2) keeps 50%, and the alarms go on. Raised: guard \
         error_rate. 2 failures of green reached clients; the shift ends at 50. Resume goes on to step 3 of 4, 75% to green; promote skips the remaining bakes; abort rolls back.",
    );
    view.state = State::Paused { step: 3, remaining: Duration::ZERO, reason };
    view.share = Share::ALL;
    view.alarms = Vec::new();
    says(
        &view,
        "Waiting for approval at step 4 of 4: the bake is over, green (v2) keeps 100%, and the alarms go on. 2 failures of green reached clients; the shift ends at 50. Resume lets blue go; promote skips the remaining bakes; abort rolls back.",
    );
}

#[test]
fn the_termination_wait_says_how_long_blue_is_kept() {
    let mut view = view(State::TerminationWait { ends: SOMETIME });
    view.alarms = alarms([AlarmEvidence { requests: 1, failures: 1, ..error_rate() }]);
    view.next.at = Some(later(3_900));
    says(
        &view,
        "Green (v2) has all requests and has passed its last bake; blue (v1) is kept warm for another 1 h 5 min. Guard error_rate is \
         not raised: green's only request failed, permitted below 1%; odds of 3.4 : 1 against chance, needed 2,000 : 1. 2 failures of green reached clients; the shift ends at 50.",
    );
}

#[test]
fn retiring_says_what_blue_still_has_to_finish() {
    let mut view = view(State::Retiring { drain_by: SOMETIME });
    view.next.at = Some(later(30));
    says(
        &view,
        "Green (v2) has all requests; blue (v1) finishes 1 running request and goes, at the latest in 30 s.",
    );
    view.blue.in_flight = 0;
    says(&view, "Green (v2) has all requests; blue (v1) has nothing in flight and goes.");
}

#[test]
fn a_promotion_says_how_long_it_took_and_what_green_did() {
    let mut view = view(State::Promoted);
    view.moments = Moments { ended_at: Some(NOW), ..Moments::default() };
    says(
        &view,
        "Promoted: green (v2) went through 4 steps and is the fleet in service, 5 min after the start. Of its 804 requests, 2 failed \
         (0.249%).",
    );
    (view.green.rescued, view.green.rescue_failed) = (2, 1);
    says(
        &view,
        "Promoted: green (v2) went through 4 steps and is the fleet in service, 5 min after the start. Of its 804 requests, 2 failed \
         (0.249%); rescue kept 1 of them from clients.",
    );
    view.green = Traffic { succeeded: 12_034, ..Traffic::default() };
    says(
        &view,
        "Promoted: green (v2) went through 4 steps and is the fleet in service, 5 min after the start. None of its 12,034 requests \
         failed.",
    );
    view.green = Traffic::default();
    view.moments = Moments::default();
    says(
        &view,
        "Promoted: green (v2) went through 4 steps and is the fleet in service. It had no request during the shift.",
    );
}

#[test]
fn a_rollback_says_what_clients_were_spared() {
    let mut view = rolled_back(Cause::Aborted);
    view.green.rescued = view.green.failed;
    let text = explain(&view, NOW);
    assert!(
        text.contains("Green failed 2 requests; all of them were rescued, so that no client saw one."),
        "{text}"
    );
}

#[test]
fn a_rollback_by_an_alarm_says_the_evidence_and_how_fast_it_went() {
    let mut view = rolled_back(Cause::Alarm { name: "error_rate".to_owned(), evidence: String::new() });
    view.alarms = alarms([raised(), p99()]);
    view.decision = Some(Duration::from_micros(3_210));
    view.publish_to_last_green_dispatch = Some(Duration::from_micros(400));
    view.green_responses_to_decision = Some(41);
    view.green_in_flight_at_decision = Some(3);
    says(
        &view,
        "Rolled back by guard error_rate: 7 of green's 41 requests failed (17.1%), permitted below 1%; odds of 12,000 : 1 against \
         chance, needed 2,000 : 1. Decided 3.2 ms after the response that tipped it; the last request was dealt to green 0.4 ms \
         after the table was published; by then green had settled 41 requests and had 3 in flight. Blue (v1) is the fleet in \
         service.",
    );
    view.publish_to_last_green_dispatch = Some(Duration::ZERO);
    view.green_responses_to_decision = Some(1);
    view.green_in_flight_at_decision = None;
    view.alarms = alarms([AlarmEvidence { requests: 9, failures: 9, ..raised() }]);
    says(
        &view,
        "Rolled back by guard error_rate: all of green's 9 requests failed, permitted below 1%; odds of 12,000 : 1 against chance, \
         needed 2,000 : 1. Decided 3.2 ms after the response that tipped it; no request was dealt to green after the table was \
         published; by then green had settled 1 request. Blue (v1) is the fleet in service.",
    );
}

#[test]
fn a_rollback_tells_what_became_of_the_requests_that_green_still_had() {
    let mut view = rolled_back(Cause::Aborted);
    view.fate = Some(Fate {
        open: 7,
        late: 1,
        finished: 4,
        rescued: 1,
        failed: 1,
        client_gone: 1,
        running: 1,
        cut: 0,
    });
    let text = explain(&view, NOW);
    assert!(
        text.contains(
            "Of the 8 requests that green still had, 4 finished, 1 went to blue before its client saw anything, 1 failed, 1 was given \
             up by its client and 1 had not ended at the drain deadline."
        ),
        "{text}"
    );
    view.fate = Some(Fate { open: 1, cut: 1, ..Fate::default() });
    let text = explain(&view, NOW);
    assert!(
        text.contains("Of the one request that green still had, 1 was cut by a restart of snapback."),
        "{text}"
    );
    view.fate = Some(Fate::default());
    assert!(!explain(&view, NOW).contains("still had"));
}

#[test]
fn a_restart_is_told_with_what_it_did_to_the_alarms() {
    let mut view = view(State::Baking { step: 1, ends: SOMETIME });
    view.restarts = 1;
    let text = explain(&view, NOW);
    assert!(
        text.contains(
            "Snapback has started again during the shift: the step bakes anew, guards, regressions and thresholds count from there, and \
             reports hold for their leases."
        ),
        "{text}"
    );
    view.restarts = 3;
    assert!(explain(&view, NOW).contains("Snapback has started again 3 times during the shift"));
    view.state = State::Paused { step: 1, remaining: Duration::ZERO, reason: PauseReason::Operator };
    assert!(explain(&view, NOW).contains("Snapback has started again 3 times during the shift"));
}

#[test]
fn an_alarm_of_a_green_that_broke_late_says_what_tipped_it() {
    let mut view = rolled_back(Cause::Alarm { name: "error_rate".to_owned(), evidence: String::new() });
    let broken_late =
        AlarmEvidence { requests: 6_706, failures: 28, recent_requests: 41, recent_failures: 28, ..raised() };
    view.alarms = alarms([broken_late.clone()]);
    says(
        &view,
        "Rolled back by guard error_rate: 28 of green's last 41 requests failed (68.3%), permitted below 1%; odds of 12,000 : 1 \
         against chance, needed 2,000 : 1. Blue (v1) is the fleet in service.",
    );
    view.alarms = alarms([AlarmEvidence { recent_requests: 28, rule: p99().rule, ..broken_late.clone() }]);
    says(
        &view,
        "Rolled back by guard error_rate: all of green's last 28 requests took 250 ms or longer, permitted at most 1%; odds of \
         12,000 : 1 against chance, needed 2,000 : 1. Blue (v1) is the fleet in service.",
    );
    view.alarms = alarms([AlarmEvidence { requests: 41, ..broken_late }]);
    says(
        &view,
        "Rolled back by guard error_rate: 28 of green's 41 requests failed (68.3%), permitted below 1%; odds of 12,000 : 1 against \
         chance, needed 2,000 : 1. Blue (v1) is the fleet in service.",
    );
}

#[test]
fn recent_failures_are_left_out_while_there_is_no_evidence_against_green() {
    let mut view = view(State::TerminationWait { ends: SOMETIME });
    view.alarms =
        alarms([AlarmEvidence { recent_requests: 12, recent_failures: 1, ln_e: -0.2, ..error_rate() }]);
    view.next.at = None;
    says(
        &view,
        "Green (v2) has all requests and has passed its last bake; blue (v1) is kept warm. Guard error_rate is not raised: 2 of \
         green's 804 requests failed (0.249%), permitted below 1%; no evidence against green, needed 2,000 : 1. 2 failures of green reached clients; the shift ends at 50.",
    );
}

#[test]
fn rolling_back_says_what_green_still_has_to_finish() {
    let cause =
        Cause::Alarm { name: "p99".to_owned(), evidence: "41 of 612 requests took longer.".to_owned() };
    let mut view = view(State::RollingBack { cause, drain_by: SOMETIME });
    view.alarms = Vec::new();
    view.next = Next { what: "green goes".to_owned(), at: Some(later(30)) };
    says(
        &view,
        "Rolling back by guard p99: 41 of 612 requests took longer. Blue (v1) has all requests; green (v2) finishes 3 running \
         requests, at the latest in 30 s.",
    );
    view.green.in_flight = 0;
    says(
        &view,
        "Rolling back by guard p99: 41 of 612 requests took longer. Blue (v1) has all requests; green (v2) has nothing in flight.",
    );
}

#[test]
fn every_other_cause_has_its_sentence() {
    let mut view = rolled_back(Cause::Aborted);
    view.alarms = alarms([lacking(error_rate(), 3), lacking(p99(), 3)]);
    view.transitions = vec![transition("rolling_back", "carla", "aborted: answers look odd")];
    let cases = [
        (
            Cause::FailureBudget { failures: 51 },
            "because 51 failures of green reached clients and the plan ends the shift at 50",
        ),
        (Cause::Aborted, "by hand: carla aborted the shift, saying \"answers look odd\""),
        (Cause::ExecutionTimeout, "because the shift was not over within its execution timeout of 2 h"),
        (
            Cause::GreenNotReady { reason: "127.0.0.1:9003 refused the connection".to_owned() },
            "because green did not become ready: 127.0.0.1:9003 refused the connection",
        ),
        (Cause::GreenGone, "because every instance of green failed its health checks"),
        (
            Cause::NoData,
            "because a bake ended with too little data for guard error_rate and guard p99, which fails by the plan",
        ),
        (Cause::Restart, "because snapback started again, which ends a shift by the plan"),
        (
            Cause::EvaluatorStalled,
            "because the alarms had not been looked at for a second, and unwatched green gets nothing",
        ),
    ];
    for (cause, clause) in cases {
        assert_eq!(cause_text(&view, &cause), format!("Rolled back {clause}."));
    }
    view.transitions = vec![transition("rolling_back", "carla", "aborted")];
    assert_eq!(cause_text(&view, &Cause::Aborted), "Rolled back by hand: carla aborted the shift.");
}

#[test]
fn thresholds_are_explained_by_their_datapoints_and_without_odds() {
    let mut view = ShiftView {
        alarms: Vec::new(),
        thresholds: vec![threshold()],
        ..view(State::Baking { step: 0, ends: Moment::from_nanos(1) })
    };
    assert!(
        explain(&view, NOW).contains(
            "Thresholds ok: slow (latency p90 above 300 ms in 2 of 3 periods of 10 s: 1 of the last 3 breach, the newest with 120 ms over 1 \
             sample)."
        ),
        "{}",
        explain(&view, NOW)
    );
    view.thresholds[0].state = AlarmState::InsufficientData;
    view.thresholds[0].range = vec![None; 2];
    view.thresholds[0].lacking = 1;
    view.state = State::Holding { step: 0 };
    assert!(
        explain(&view, NOW).contains(
            "there is too little data for threshold slow (latency p90 above 300 ms in 2 of 3 periods of 10 s: no sample in the last 2 \
             periods; 1 more period of this step must pass before it can tell)."
        ),
        "{}",
        explain(&view, NOW)
    );
    view.thresholds = vec![threshold()];
    view.state = State::RolledBack {
        cause: Cause::Alarm {
            name: "slow".to_owned(),
            evidence: "latency p90 above 300ms: 2 did".to_owned(),
        },
    };
    assert!(
        explain(&view, NOW).starts_with("Rolled back by threshold slow: latency p90 above 300ms: 2 did."),
        "{}",
        explain(&view, NOW)
    );
}

#[test]
fn external_alarms_are_explained_by_who_says_so() {
    let mut view = ShiftView {
        alarms: Vec::new(),
        externals: vec![external()],
        ..view(State::Baking { step: 0, ends: SOMETIME })
    };
    let said = explain(&view, NOW);
    assert!(said.contains("External alarms: quality reported ok: 20 of 20 graded well."), "{said}");
    view.externals[0].evidence.state = AlarmState::InsufficientData;
    view.externals[0].evidence.source = Source::Awaited;
    view.state = State::Holding { step: 0 };
    let said = explain(&view, NOW);
    assert!(
        said.contains(
            "there is too little data for external alarm quality (nobody has reported yet, with 1 min to do so)"
        ),
        "{said}"
    );
    view.state = State::RolledBack { cause: Cause::NoData };
    let said = explain(&view, NOW);
    assert!(
        said.starts_with(
            "Rolled back because a bake ended with too little data for external alarm quality, which fails"
        ),
        "{said}"
    );
}

/// A rolling shift of three instances by ones, between two batches or on its way back.
fn rolling(state: State) -> ShiftView {
    let mut view = view(state);
    let plan = PlanSpec::from_json(&serde_json::json!({
        "green": { "version": "v2", "instances": ["a:1", "a:2", "a:3"] },
        "strategy": { "type": "rolling", "batch": 1, "bake": "2m", "rollback_batch": 1 },
        "guard": [{ "metric": "error_rate", "below": "1%" }],
    }));
    view.plan.shift = plan.unwrap().shift;
    view
}

#[test]
fn a_rolling_shift_tells_what_each_fleet_has_in_service() {
    let back = Back { blue: 1, pace: Pace::AtOnce };
    let failed = || State::RollbackFailed { cause: Cause::Aborted, reason: "no room".to_owned(), back };
    for (state, said) in [
        (
            State::RetiringBatch { step: 0, drain_by: SOMETIME },
            "In service: 2 of blue's 3 instances, 1 of green's 3",
        ),
        (State::PreparingBatch { step: 1, ready_by: SOMETIME }, "a batch of green (v2) must be ready"),
        (State::HoldingBatch { step: 1 }, "Holding before step 2 of 3: its batch is ready, but"),
        (
            State::Restoring { cause: Cause::Aborted, back, ready_by: SOMETIME },
            "what its instances cannot take is theirs to refuse, by their limits, until the missing ones are back.",
        ),
        (
            State::ReleasingBatch {
                cause: Cause::Aborted,
                back: Back { blue: 2, pace: Pace::Batches },
                drain_by: SOMETIME,
            },
            "Green (v2) keeps what blue cannot take yet. In service: 2 of blue's 3 instances, 1 of green's 3",
        ),
        (failed(), "The rollback failed: no room. It had begun by hand"),
        (failed(), "In service: 1 of blue's 3 instances, 0 of green's 3"),
    ] {
        let told = explain(&rolling(state), NOW);
        assert!(told.contains(said), "{told}");
    }
}
