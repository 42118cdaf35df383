//! Plans over recordings that are written out here: what they decide, at which line, and what a file may look like.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    alarm::Dealing,
    config::PlanSpec,
    meter::Rescue,
    name::{ShiftId, Version},
    shift::{Cause, State},
    time::Moment,
    weight::Share,
};

const HEAD: &str = r#"{"format":"snapback-recording","version":1}"#;

/// A canary of 10 % for ten seconds, then everything for ten, under a guard of one failure in a hundred.
fn plan(rest: Value) -> PlanSpec {
    let mut document = json!({
        "green": {"version": "v2", "instances": ["127.0.0.1:9003"]},
        "strategy": {"type": "canary", "share": "10%", "bake": "10s", "final_bake": "10s"},
        "guard": [{"metric": "error_rate", "below": "1%"}],
    });
    for (key, value) in rest.as_object().unwrap() {
        document[key] = value.clone();
    }
    PlanSpec::from_json(&document).unwrap()
}

/// A request every 10 ms, on its line from 2, made of its number.
fn recording(requests: u32, line: impl Fn(u32) -> String) -> Recording {
    let mut text = HEAD.to_owned();
    for number in 0..requests {
        write!(text, "\n{{\"at_ms\":{},{}}}", number * 10, line(number)).unwrap();
    }
    text.push('\n');
    Recording::parse(text.as_bytes()).unwrap()
}

/// What `status` makes of one in ten, which are green's under a tenth; from request 1,000 on everything is green's.
fn shifted(requests: u32, status: impl Fn(u32) -> u16) -> Recording {
    recording(requests, |number| {
        let (share, is_green) = if number < 1_000 { ("10%", number % 10 == 3) } else { ("100%", true) };
        let (fleet, status) = if is_green { ("green", status(number)) } else { ("blue", 200) };
        format!(r#""fleet":"{fleet}","shift":"chat-1","share":"{share}","status":{status},"duration_ms":5"#)
    })
}

fn alone(requests: u32, status: impl Fn(u32) -> u16) -> Recording {
    recording(requests, |number| format!(r#""fleet":"blue","status":{},"duration_ms":5"#, status(number)))
}

fn played(plan: &PlanSpec, recording: &Recording) -> Replay {
    play(plan, &Stage::new(recording, Choice::default()).unwrap(), 1)
}

fn rolled_back(replay: &Replay) -> (&str, u64, Option<usize>, u64, usize) {
    let End::RolledBack { at, cause, step, line, green_responses, .. } = &replay.end else {
        panic!("{:?}", replay.end)
    };
    let name = if let Cause::Alarm { name, .. } = cause { name } else { cause.as_str() };
    (name, u64::try_from(at.as_millis()).unwrap(), *line, *green_responses, *step)
}

#[test]
fn a_green_that_fails_everything_is_rolled_back_at_the_third_of_its_lines() {
    let replay = played(&plan(json!({})), &shifted(500, |_| 500));
    // Requests 3, 13 and 23 are green's; the third ends 235 ms after the first of all and stands on line 25.
    assert_eq!(rolled_back(&replay), ("error_rate", 235, Some(25), 3, 1));
    let [step] = &replay.steps[..] else { panic!("{:?}", replay.steps) };
    assert_eq!((step.end, step.green_responses, step.green_failures), (StepEnd::RolledBack, 3, 3));
    assert!(step.alarms[0].text.contains("3 of 3 requests failed"), "{:?}", step.alarms);
    assert_eq!((replay.played.green, replay.source), (3, Source::AsRecorded));
}

/// Streams of ten tokens; green's first one, and its gaps, take so long.
fn streamed(requests: u32, first: u32, gap: u32) -> Recording {
    recording(requests, |number| {
        let (fleet, first, gap) = if number % 10 == 3 { ("green", first, gap) } else { ("blue", 20, 10) };
        format!(
            r#""fleet":"{fleet}","shift":"chat-1","share":"10%","status":200,"first_token_ms":{first},"worst_gap_ms":{gap},"tokens":10,"duration_ms":{}"#,
            first + 9 * gap
        )
    })
}

#[test]
fn what_serves_after_a_shift_that_was_promoted_is_said_to_count_as_greens() {
    for (serving, is_said) in [("v2", true), ("v1", false)] {
        let recording = recording(600, |number| {
            let (fleet, version, shift) = match number {
                500.. => ("blue", serving, ""),
                _ if number % 10 == 3 => ("green", "v2", r#""shift":"chat-1","share":"10%","#),
                _ => ("blue", "v1", r#""shift":"chat-1","share":"10%","#),
            };
            format!(r#""fleet":"{fleet}","version":"{version}",{shift}"status":200,"duration_ms":5"#)
        });
        let stage = Stage::new(&recording, Choice::default()).unwrap();
        let told = stage
            .assumptions()
            .iter()
            .any(|line| line.contains("what v2 answered after it counts as green's"));
        assert_eq!(told, is_said, "{:?}", stage.assumptions());
    }
}

#[test]
fn a_green_whose_first_tokens_are_late_is_rolled_back_when_a_bound_passes() {
    let guard = json!([{"metric": "first_token", "quantile": "p90", "below": "100ms"}]);
    let plan = plan(json!({ "guard": guard }));
    let replay = played(&plan, &streamed(900, 120, 10));
    let (alarm, at, line, responses, step) = rolled_back(&replay);
    assert_eq!((alarm, step), ("first_token_p90", 1));
    // The line is that of a request that was still open when its bound passed.
    let line = u64::try_from(line.unwrap()).unwrap();
    assert_eq!(at, (line - 2) * 10 + 100, "{replay:?}");
    assert!((0..20).contains(&responses), "{replay:?}");
    assert!(replay.assumptions.iter().any(|line| line.contains("first token")), "{:?}", replay.assumptions);
    let prompt = played(&plan, &streamed(900, 90, 10));
    assert!(matches!(prompt.end, End::Undecided { .. }), "{:?}", prompt.end);
}

#[test]
fn a_green_whose_tokens_come_too_far_apart_is_rolled_back_by_a_guard_and_by_a_comparison_with_blue() {
    let guard = json!({"guard": [{"metric": "token_gap", "quantile": "p90", "below": "50ms"}]});
    let regression = json!({"guard": [], "regression": [{"metric": "token_gap", "tolerance": "1.2x"}]});
    for (rest, alarm) in [(guard, "token_gap_p90"), (regression, "token_gap_regression")] {
        let plan = plan(rest);
        assert_eq!(rolled_back(&played(&plan, &streamed(900, 20, 60))).0, alarm);
        let even = played(&plan, &streamed(900, 20, 10));
        assert!(matches!(even.end, End::Undecided { .. }), "{:?}", even.end);
    }
}

#[test]
fn streams_of_a_file_without_gaps_had_an_even_pace_and_of_one_with_them_its_own() {
    let line = r#"{"at_ms":1,"fleet":"blue","status":200,"first_token_ms":10,"worst_gap_ms":30,"tokens":5,"duration_ms":90"#;
    let gaps = |version: u32, rest: &str| {
        let file = format!("{{\"format\":\"snapback-recording\",\"version\":{version}}}\n{line}{rest}}}\n");
        let gaps = Recording::parse(file.as_bytes()).unwrap().entries[0].record.gaps?;
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap();
        Some((millis(gaps.mean), gaps.rungs().map(millis)))
    };
    assert_eq!(gaps(1, ""), Some((20, [19; 4])));
    assert_eq!(gaps(2, ""), None);
    assert_eq!(gaps(2, ",\"mean_gap_ms\":8,\"gap_rungs_ms\":[1,2.1,8.4,33.6]"), Some((8, [0, 2, 8, 33])));
}

#[test]
fn a_green_that_turns_bad_under_everything_is_rolled_back_there() {
    let replay = played(&plan(json!({})), &shifted(2_000, |number| if number < 1_500 { 200 } else { 500 }));
    let (alarm, at, line, _, step) = rolled_back(&replay);
    assert_eq!((alarm, step), ("error_rate", 2));
    // 600 good answers put the evidence below nothing, so it takes more than three.
    let line = u64::try_from(line.unwrap()).unwrap();
    assert!((1_505..1_600).contains(&line), "{line}");
    assert_eq!(at, (line - 2) * 10 + 5);
    assert_eq!(replay.steps[0].end, StepEnd::Passed);
}

#[test]
fn a_healthy_green_is_promoted_when_its_bakes_are_over() {
    let replay = played(&plan(json!({})), &shifted(2_100, |_| 200));
    let End::Promoted { at } = replay.end else { panic!("{:?}", replay.end) };
    assert_eq!(at.as_millis(), 20_000);
    let told: Vec<_> = replay.steps.iter().map(|step| (step.end, step.began.as_millis())).collect();
    assert_eq!(told, [(StepEnd::Passed, 0), (StepEnd::Passed, 10_000)]);
    assert_eq!((replay.played.green, replay.played.left_out), (1_100, 0));
}

#[test]
fn a_termination_wait_and_approvals_are_played_too() {
    let rest = json!({
        "strategy": {"type": "steps", "steps": [{"share": "10%", "bake": "10s", "approval": true}], "final_bake": "5s"},
        "termination_wait": "2s",
    });
    let replay = played(&plan(rest), &shifted(2_100, |_| 200));
    let End::Promoted { at } = replay.end else { panic!("{:?}", replay.end) };
    assert_eq!(at.as_millis(), 17_000);
    assert_eq!(replay.steps[1].ended.as_millis(), 15_000);
    assert!(replay.assumptions.iter().any(|line| line.contains("approvals")), "{:?}", replay.assumptions);
}

#[test]
fn a_recording_that_is_too_short_decides_nothing() {
    let replay = played(&plan(json!({})), &shifted(500, |_| 200));
    let End::Undecided { state, why, .. } = &replay.end else { panic!("{:?}", replay.end) };
    assert!(matches!(state, State::Baking { step: 0, .. }), "{state:?}");
    assert!(why.contains("20s at least"), "{why}");
    assert_eq!(replay.steps[0].end, StepEnd::Undecided);
}

#[test]
fn where_the_recorded_share_is_another_one_fleet_is_thinned_to_the_plans() {
    let half = |number: u32| if number.is_multiple_of(2) { "green" } else { "blue" };
    let line = |number| {
        format!(r#""fleet":"{}","shift":"chat-1","share":"50%","status":200,"duration_ms":5"#, half(number))
    };
    let recording = recording(20_000, line);
    let rest = json!({"strategy": {"type": "canary", "share": "10%", "bake": "150s", "final_bake": "1h"}});
    let replay = played(&plan(rest), &recording);
    let Played { blue, green, left_out, .. } = replay.played;
    // A ninth of green's stay: 15,000 requests in the first bake, and then only green's.
    assert_eq!(blue, 7_500);
    assert!((2_500 + 833 - 120..2_500 + 833 + 120).contains(&green), "{green}");
    assert_eq!(blue + green + left_out, 20_000);
}

#[test]
fn a_request_that_hangs_counts_when_it_passes_the_bound_and_not_when_it_ends() {
    let recording = recording(1_000, |number| {
        let (fleet, duration) = if number % 10 == 3 { ("green", 9_000) } else { ("blue", 5) };
        format!(r#""fleet":"{fleet}","shift":"c","share":"10%","status":200,"duration_ms":{duration}"#)
    });
    let rest = json!({"guard": [{"metric": "latency", "quantile": "p99", "below": "250ms"}]});
    let replay = played(&plan(rest), &recording);
    assert_eq!(rolled_back(&replay), ("latency_p99", 480, Some(25), 0, 1));
}

#[test]
fn greens_first_requests_warm_it_up_and_are_not_judged_by_their_times() {
    let recording = recording(1_000, |number| {
        let (fleet, duration) = if number % 10 == 3 { ("green", 300) } else { ("blue", 5) };
        format!(r#""fleet":"{fleet}","shift":"c","share":"10%","status":200,"duration_ms":{duration}"#)
    });
    let guard = json!([{"metric": "latency", "quantile": "p99", "below": "250ms"}]);
    let replay = played(&plan(json!({"guard": guard, "warm_up": {"requests": 4}})), &recording);
    // Of one instance the first four are left out; the third of the others passes its bound at 630 ms + 250.
    assert_eq!(rolled_back(&replay), ("latency_p99", 880, Some(65), 6, 1));
    let replay = played(&plan(json!({"guard": guard, "warm_up": {"time": "41ms"}})), &recording);
    assert_eq!(rolled_back(&replay).1, 580, "request 3 alone came within the time");
}

#[test]
fn a_threshold_is_judged_at_the_end_of_its_periods() {
    let rest = json!({
        "guard": [],
        "threshold": [{"name": "down", "metric": "error_rate", "above": "50%", "period": "1s", "datapoints": "2 of 2"}],
    });
    let replay = played(&plan(rest), &shifted(500, |_| 500));
    assert_eq!(rolled_back(&replay), ("down", 2_000, None, 20, 1));
}

#[test]
fn a_regression_sees_both_fleets_and_blue_before_the_shift() {
    let recording = recording(3_000, |number| {
        let is_green = number >= 1_000 && number % 10 == 3;
        let shift = if number >= 1_000 { r#""shift":"chat-1","share":"10%","# } else { "" };
        let (fleet, duration) = if is_green { ("green", 40) } else { ("blue", 5) };
        format!(r#""fleet":"{fleet}",{shift}"status":200,"duration_ms":{duration}"#)
    });
    let rest = json!({
        "strategy": {"type": "canary", "share": "10%", "bake": "10m", "final_bake": "10s"},
        "guard": [],
        "regression": [{"metric": "latency", "quantile": "p95", "tolerance": "1.5x"}],
    });
    let replay = played(&plan(rest), &recording);
    let (alarm, at, _, responses, _) = rolled_back(&replay);
    assert_eq!(alarm, "latency_p95_regression");
    assert!((3..30).contains(&responses) && at < 3_000, "{responses} {at}");
}

#[test]
fn a_regression_sees_a_request_that_hangs_before_it_ends_and_counts_it_once() {
    let played_with = |takes: u32| {
        let recording = recording(3_000, |number| {
            let is_green = number >= 1_000 && number % 10 == 3;
            let shift = if number >= 1_000 { r#""shift":"chat-1","share":"10%","# } else { "" };
            let (fleet, duration) = if is_green { ("green", takes) } else { ("blue", 5) };
            format!(r#""fleet":"{fleet}",{shift}"status":200,"duration_ms":{duration}"#)
        });
        let rest = json!({"guard": [], "regression": [{"metric": "latency", "quantile": "p95", "tolerance": "1.5x"}]});
        played(&plan(rest), &recording)
    };
    let (hangs, slow) = (played_with(60_000), played_with(40));
    let (alarm, at, _, responses, _) = rolled_back(&hangs);
    assert_eq!((alarm, responses), ("latency_p95_regression", 0), "none has ended");
    // The same request tips it: late after some 8 ms where it hangs, and where it takes 40 as well.
    assert_eq!(rolled_back(&slow).1, at);
}

#[test]
fn green_of_another_recording_comes_one_after_the_other_until_it_is_used_up() {
    let (blue, good, bad) = (alone(3_000, |_| 200), alone(100, |_| 200), alone(100, |_| 503));
    let plan = plan(json!({}));
    let with = |green: &Recording| {
        let choice = Choice { green_from: Some(green), ..Choice::default() };
        play(&plan, &Stage::new(&blue, choice).unwrap(), 1)
    };
    let replay = with(&bad);
    let (_, _, line, responses, _) = rolled_back(&replay);
    assert_eq!((line, responses, replay.source), (Some(4), 3, Source::Other));
    let End::Undecided { why, .. } = with(&good).end else { panic!("used up") };
    assert_eq!(why, "green's recording has no more outcomes");
}

#[test]
fn one_fleet_is_dealt_to_both_and_said_to_be_so() {
    let replay = played(&plan(json!({})), &alone(2_100, |_| 200));
    assert!(matches!(replay.end, End::Promoted { .. }), "{:?}", replay.end);
    assert_eq!(replay.source, Source::Split);
    // Ten seconds of a tenth, then everything.
    assert_eq!((replay.played.green, replay.played.blue), (1_100, 900));
    assert!(replay.assumptions[0].contains("as good as blue"), "{:?}", replay.assumptions);
}

#[test]
fn the_same_seed_plays_the_same() {
    let (plan, recording) =
        (plan(json!({})), alone(2_100, |number| if number.is_multiple_of(40) { 500 } else { 200 }));
    let stage = Stage::new(&recording, Choice::default()).unwrap();
    assert_eq!(play(&plan, &stage, 7), play(&plan, &stage, 7));
}

#[test]
fn of_several_shifts_the_last_is_played_unless_another_is_asked_for() {
    let recording = recording(4_000, |number| {
        let shift = if number < 2_000 { "chat-1" } else { "chat-2" };
        let (fleet, status) = match (number % 10, shift) {
            (3, "chat-1") => ("green", 500),
            (3, _) => ("green", 200),
            _ => ("blue", 200),
        };
        format!(r#""fleet":"{fleet}","shift":"{shift}","share":"10%","status":{status},"duration_ms":5"#)
    });
    let plan = plan(json!({}));
    let of = |shift: Option<&str>| {
        let shift = shift.map(|shift| ShiftId::parse(shift).unwrap());
        let stage = Stage::new(&recording, Choice { shift: shift.as_ref(), ..Choice::default() });
        stage.map(|stage| play(&plan, &stage, 1).end)
    };
    assert!(matches!(of(None), Ok(End::Undecided { .. })));
    assert!(matches!(of(Some("chat-1")), Ok(End::RolledBack { .. })));
    let refused = of(Some("chat-3")).unwrap_err().to_string();
    assert_eq!(refused, "the recording has no outcome of green in shift chat-3; it has chat-1, chat-2");
}

#[test]
fn what_serves_after_a_promotion_is_green_and_after_a_rollback_is_not() {
    let shifted = |after: &'static str| {
        recording(2_200, move |number| {
            let (fleet, version) = if number % 10 == 3 { ("green", "v2") } else { ("blue", "v1") };
            match number {
                ..1_000 => format!(
                    r#""fleet":"{fleet}","version":"{version}","shift":"c","share":"10%","status":200,"duration_ms":5"#
                ),
                _ => format!(r#""fleet":"blue","version":"{after}","status":200,"duration_ms":5"#),
            }
        })
    };
    let plan = plan(json!({}));
    assert!(matches!(played(&plan, &shifted("v2")).end, End::Promoted { .. }));
    let End::Undecided { state, .. } = played(&plan, &shifted("v1")).end else { panic!("no green was left") };
    assert_eq!(state, State::Holding { step: 1 });
}

#[test]
fn failures_that_blue_took_over_do_not_spend_the_budget_unless_blue_failed_them_too() {
    let with = |rescued_too: bool| {
        recording(500, move |number| match number % 10 {
            3 => r#""fleet":"green","shift":"c","share":"10%","status":500,"rescue":"tried","duration_ms":5"#
                .to_owned(),
            4 if rescued_too => {
                r#""fleet":"blue","shift":"c","share":"10%","status":500,"rescue":"failed","duration_ms":5"#
                    .to_owned()
            }
            _ => r#""fleet":"blue","shift":"c","share":"10%","status":200,"duration_ms":5"#.to_owned(),
        })
    };
    let plan = plan(json!({"guard": [], "max_failures": 2}));
    assert!(matches!(played(&plan, &with(false)).end, End::Undecided { .. }));
    let replay = played(&plan, &with(true));
    assert_eq!(rolled_back(&replay).0, "failure_budget");
}

#[test]
fn blue_against_itself_keeps_a_promise_that_its_failures_fit_and_breaks_one_that_they_do_not() {
    let run = |every: u32| {
        let recording = alone(2_100, move |number| if number.is_multiple_of(every) { 500 } else { 200 });
        let plan = plan(json!({}));
        let stage = Stage::new(&recording, Choice { against_itself: true, ..Choice::default() }).unwrap();
        let halves = [0..15_u64, 15..30].map(|seeds| play_splits(&plan, &stage, seeds, || true));
        let splits = halves.into_iter().fold(Splits::default(), Splits::plus);
        Aa::of(&plan, &stage, splits)
    };
    let kept = run(1_000);
    assert_eq!((kept.splits.raised, kept.splits.promoted, kept.breaks_promise()), (0, 30, false));
    assert!(!kept.shows_promise(), "30 splits cannot show one in a thousand");
    let broken = run(10);
    assert!(broken.breaks_promise(), "{broken:?}");
    assert_eq!(broken.splits.by_alarm["error_rate"], broken.splits.raised);
}

#[test]
fn a_play_that_may_not_go_on_counts_what_it_has() {
    let recording = alone(100, |_| 200);
    let plan = plan(json!({}));
    let stage = Stage::new(&recording, Choice::default()).unwrap();
    let left = std::cell::Cell::new(4);
    let goes_on = || left.replace(left.get() - 1) > 1;
    assert_eq!(play_splits(&plan, &stage, 0..1_000, goes_on).played, 3);
}

#[test]
fn a_rates_interval_is_wilsons() {
    for (part, low, high) in [(0, 0.0, 0.036_993_5), (5, 0.021_543_7, 0.111_750_5), (100, 0.963_006_5, 1.0)] {
        let interval = Interval::of(part, 100);
        assert!((interval.low - low).abs() < 1e-6 && (interval.high - high).abs() < 1e-6, "{interval:?}");
    }
}

#[test]
fn bursts_and_drift_show_in_how_the_traffic_behaves() {
    let steady = alone(6_000, |number| if number.is_multiple_of(100) { 500 } else { 200 });
    let stage = Stage::new(&steady, Choice::default()).unwrap();
    let Behaviour { whole, stretches, burst, drift } = behaviour(&stage);
    assert_eq!((whole.requests, whole.failures, stretches.len()), (6_000, 60, 5));
    assert!((burst - 1.0).abs() < 1e-9 && drift == Some(1.0), "{burst} {drift:?}");
    let bad = recording(6_000, |number| {
        let status = if number / 100 == 30 { 500 } else { 200 };
        format!(r#""fleet":"blue","status":{status},"duration_ms":{}"#, if number < 3_000 { 10 } else { 20 })
    });
    let stage = Stage::new(&bad, Choice::default()).unwrap();
    let Behaviour { burst, drift, .. } = behaviour(&stage);
    assert!(burst > 10.0 && drift.is_some_and(|drift| (1.9..2.1).contains(&drift)), "{burst} {drift:?}");
}

proptest! {
    #[test]
    fn what_is_written_reads_back(records in prop::collection::vec(crate::meter::any_record(), 0..20), sticky: bool) {
        let mut entries: Vec<Entry> = records
            .into_iter()
            .map(|mut record| {
                record.dealt_at = Moment::from_nanos(record.dealt_at.as_nanos() >> 14);
                record.duration = std::time::Duration::from_nanos(record.tokens_out << 10);
                record.part = 0;
                record.rescue = record.rescue.filter(|rescue| matches!(rescue, Rescue::Tried | Rescue::Failed));
                Entry {
                    line: 0,
                    version: record.status.map(|_| Version::parse("v2:abc@1").unwrap()),
                    shift: record.first_byte.map(|_| ShiftId::parse("chat-7").unwrap()),
                    share: record.first_byte.map(|_| Share::from_basis_points(25).unwrap()),
                    record,
                }
            })
            .collect();
        entries.sort_by_key(|entry| entry.record.dealt_at);
        let first = entries.first().map(|entry| entry.record.dealt_at).unwrap_or_default();
        for (line, entry) in (2..).zip(&mut entries) {
            entry.line = line;
            entry.record.dealt_at = Moment::default().after(entry.record.dealt_at.since(first));
        }
        let recording = Recording {
            endpoint: Some("chat".to_owned()),
            began_at: None,
            dealing: if sticky { Dealing::Sticky } else { Dealing::Deck },
            entries,
            remarks: Vec::new(),
        };
        let (mut text, mut from) = (String::new(), Some(0));
        while let Some(place) = from {
            let (part, next) = recording.text(place, 3);
            text.push_str(&part);
            from = next;
        }
        prop_assert_eq!(Recording::parse(text.as_bytes()), Ok(recording));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut file = HEAD.as_bytes().to_vec();
        file.push(b'\n');
        file.extend(bytes);
        let _read = Recording::parse(&file);
    }
}

#[track_caller]
fn assert_refused(lines: &[&str], line: usize, message: &str) {
    let text = lines.join("\n") + "\n";
    let refused = Recording::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused.line, line, "{refused}");
    assert!(refused.message.contains(message), "{refused}");
}

#[test]
fn a_bad_line_is_named_with_what_would_be_right() {
    let good = r#"{"at_ms":1,"fleet":"blue","status":200,"duration_ms":2}"#;
    assert_refused(&[""], 1, "a recording begins with {\"format\":\"snapback-recording\",\"version\":2}");
    assert_refused(&["{\"hello\":1}"], 1, "unknown field `hello`");
    assert_refused(&[r#"{"format":"har","version":1}"#], 1, "its format is \"har\"");
    assert_refused(&[r#"{"format":"snapback-recording","version":3}"#], 1, "version 3 is not known");
    assert_refused(&[HEAD, good, "{}"], 3, "missing field `at_ms`");
    let with = |line: &str, message| assert_refused(&[HEAD, good, "", line], 4, message);
    with(r#"{"at_ms":1,"fleet":"blue","duration_ms":2}"#, "one of verdict, status and grpc_status is needed");
    with(r#"{"at_ms":-1,"fleet":"blue","status":200,"duration_ms":2}"#, "at_ms: -1 is no time");
    with(
        r#"{"at_ms":1,"fleet":"red","status":200,"duration_ms":2}"#,
        "fleet: \"red\" is none of blue, green",
    );
    with(r#"{"at_ms":1,"fleet":"blue","verdict":"ok","duration_ms":2}"#, "is none of success, client_error");
    with(
        r#"{"at_ms":1,"fleet":"blue","status":200,"duration_ms":2,"share":"5"}"#,
        "share: \"5\" is not a share",
    );
    with(r#"{"at_ms":1,"fleet":"blue","status":200,"duration":2}"#, "unknown field `duration`");
    with("at_ms,fleet", "an outcome looks like");
}

#[test]
fn a_last_line_that_breaks_off_is_left_out_and_said_to_be() {
    let text = format!(
        "{}\n{}\n{}",
        r#"{"format":"snapback-recording","version":1,"outcomes":2}"#,
        r#"{"at_ms":1,"fleet":"blue","status":200,"duration_ms":2}"#,
        r#"{"at_ms":2,"fleet":"bl"#,
    );
    let recording = Recording::parse(text.as_bytes()).unwrap();
    assert_eq!(recording.entries.len(), 1);
    assert_eq!(
        recording.remarks,
        ["line 3, the last, breaks off and is left out", "it has 1 of the 2 outcomes that it announces"]
    );
    let whole = text + r#"ue","status":200,"duration_ms":1}"#;
    assert_eq!(
        Recording::parse(whole.as_bytes()).map(|whole| whole.remarks),
        Ok(Vec::new()),
        "it only lacks its end"
    );
}

#[test]
fn without_a_verdict_an_outcome_is_what_its_status_means() {
    let recording = recording(4, |number| {
        let says =
            [r#""status":404"#, r#""status":503"#, r#""grpc_status":"UNAVAILABLE""#, r#""failure":"reset""#];
        format!(r#""fleet":"blue",{},"duration_ms":5"#, says[number as usize])
    });
    let verdicts: Vec<_> = recording.entries.iter().map(|entry| entry.record.verdict.as_str()).collect();
    assert_eq!(verdicts, ["client_error", "failure", "failure", "failure"]);
}

#[test]
fn an_empty_recording_has_nothing_to_play() {
    let empty = Recording::parse(HEAD.as_bytes()).unwrap();
    assert_eq!(Stage::new(&empty, Choice::default()).unwrap_err(), StageError::Empty);
    let greens = recording(3, |_| r#""fleet":"green","status":200,"duration_ms":5"#.to_owned());
    let against_itself = Choice { against_itself: true, ..Choice::default() };
    assert_eq!(Stage::new(&greens, against_itself).unwrap_err(), StageError::NoBlue);
}
