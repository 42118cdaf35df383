use super::*;

fn shift(state: &str, alarm: Option<&str>) -> wire::Shift {
    let traffic = serde_json::json!({
        "requests": 40, "succeeded": 31, "client_errors": 0, "failed": 9, "failures": {}, "client_gone": 0, "retried": 0,
        "rescued": 7, "rescue_failed": 1,
        "in_flight": 0,
    });
    let recent = serde_json::json!({
        "span_ms": 0.0, "requests": 0, "rate": 0.0, "error_rate": 0.0, "p50_ms": null, "p99_ms": null,
        "first_byte_p50_ms": null, "first_byte_p99_ms": null,
    });
    let fleet = serde_json::json!({"traffic": traffic, "recent": recent});
    let cause =
        alarm.map(|name| serde_json::json!({"kind": "alarm", "alarm": name, "text": "too many errors"}));
    let document = serde_json::json!({
        "id": "chat-2", "endpoint": "chat", "actor": "operator", "state": state, "over": true, "blue_version": "v2",
        "green_version": "v3", "plan": {}, "steps": [{"share": "20%", "bake": "10s", "approval": false}], "step": 1,
        "share": "0%", "share_got": null, "cause": cause, "started_at": "2026-01-31T12:00:00.000Z",
        "breach_at": "2026-01-31T12:00:00.499Z", "decided_at": "2026-01-31T12:00:00.499Z",
        "published_at": "2026-01-31T12:00:00.500Z", "last_green_dispatch_at": "2026-01-31T12:00:00.502Z",
        "drained_at": null, "ended_at": null, "decision_ms": 0.4, "publish_to_last_green_dispatch_ms": 2.0,
        "green_responses_to_decision": 14, "green_in_flight_at_decision": 2, "alarms": [],
        "fleets": {"blue": fleet, "green": fleet}, "next": {"what": "nothing", "at": null}, "transitions": [],
        "explanation": "Alarm errors was raised.\nIt counts.",
    });
    serde_json::from_value(document).unwrap()
}

/// Failures sent so many milliseconds after v3's shift began.
fn played(good: Option<wire::Shift>, bad: Option<wire::Shift>, sent_ms: &[i64]) -> Played {
    let begin = wall("2026-01-31T12:00:00.000Z").unwrap().as_millis();
    let failure = |ms: &i64| Failure {
        sent_at: WallTime::from_millis(begin + ms),
        ended_at: WallTime::from_millis(begin + ms + 5),
        what: "status 500".to_owned(),
    };
    let failures: Vec<Failure> = sent_ms.iter().map(failure).collect();
    let failed = u64::try_from(failures.len()).unwrap();
    Played { good, bad, tally: Tally { served: 100, failed, failures, latency: Default::default() } }
}

#[test]
fn the_story_happened_when_v2_is_promoted_v3_rolled_back_by_an_alarm_and_only_v3_failed() {
    let report = Report::of(&played(
        Some(shift("promoted", None)),
        Some(shift("rolled_back", Some("errors"))),
        &[100, 400, 504],
    ));
    assert!(report.happened(), "{:?}", report.missing);
    assert_eq!(report.broke_at.as_deref(), Some("2026-01-31T12:00:00.105Z"));
    assert_eq!((report.client_requests, report.client_failures_during), (103, 3));
    let text = report.to_string();
    assert!(text.contains("decided                   12:00:00.499   0.40 ms after"), "{text}");
    assert!(text.contains("  Alarm errors was raised.\n  It counts."), "{text}");
}

#[test]
fn the_story_is_a_good_one_when_every_failure_of_v3_was_rescued() {
    let (good, bad) = (shift("promoted", None), shift("rolled_back", Some("errors")));
    let report = Report::of(&played(Some(good), Some(bad), &[]));
    assert!(report.happened(), "{:?}", report.missing);
    assert_eq!((report.client_failures, report.rescued, &report.broke_at), (0, 6, &None));
    let text = report.to_string();
    assert!(text.contains("of which 0 failed; 6 of v3's failures were rescued by v2"), "{text}");
    assert!(
        text.contains("failed 9, of which 6 were rescued") && !text.contains("a client saw it break"),
        "{text}"
    );
}

#[test]
fn a_failure_before_v3_or_after_the_last_request_to_it_spoils_the_story() {
    let outcome = |sent_ms: &[i64]| {
        let (good, bad) = (shift("promoted", None), shift("rolled_back", Some("errors")));
        Report::of(&played(Some(good), Some(bad), sent_ms)).missing
    };
    assert!(outcome(&[-1])[0].contains("before v3's shift began"));
    assert!(outcome(&[505])[0].contains("after the snapback"));
}

#[test]
fn the_report_says_what_did_not_happen() {
    let missing = |good, bad| Report::of(&played(good, bad, &[])).missing.join("\n");
    assert!(
        missing(Some(shift("rolled_back", Some("slow"))), None)
            .contains("v2 was not promoted: it is rolled_back")
    );
    assert!(missing(None, None).contains("v2's shift was not over"));
    let promoted = || Some(shift("promoted", None));
    assert!(missing(promoted(), promoted()).contains("v3 was not rolled back by an alarm: it is promoted"));
    assert!(missing(promoted(), Some(shift("rolled_back", None))).contains("not rolled back by an alarm"));
    assert!(missing(promoted(), None).contains("v3's shift was not over"));
}

#[test]
fn json_has_the_promised_fields_even_when_there_is_nothing_to_put_in() {
    let document = serde_json::to_value(Report::of(&played(None, None, &[]))).unwrap();
    for field in [
        "promoted",
        "rolled_back",
        "client_requests",
        "client_failures",
        "green_responses_to_decision",
        "decision_ms",
        "publish_to_last_green_dispatch_ms",
    ] {
        assert!(document.get(field).is_some(), "{field}");
    }
}
