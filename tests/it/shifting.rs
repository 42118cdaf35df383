//! Shifts over the admin API, with traffic.

use serde_json::json;

use crate::bench::{ModelServer, Snapback, plan, run, write_config};

#[test]
fn a_good_green_is_promoted_and_then_has_all_the_traffic() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let id = snapback.start_shift(&plan(green.address, "300ms"));
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    let before = blue.served();
    for _ in 0..20 {
        assert_eq!(snapback.ask().body, b"v2");
    }
    assert_eq!(blue.served(), before);
    let (_, endpoint) = snapback.admin("GET", "/v1/endpoints/chat", "");
    assert_eq!((&endpoint["blue"]["version"], &endpoint["green"]), (&json!("v2"), &json!(null)));
}

#[test]
fn a_failing_green_is_snapped_back_and_the_reason_is_told_with_numbers() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    green.fail();
    let id = snapback.start_shift(&plan(green.address, "30s"));
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(
        (&shift["state"], &shift["cause"]["kind"]),
        (&json!("rolled_back"), &json!("alarm")),
        "{shift:#}"
    );
    for moment in
        ["breach_at", "decided_at", "published_at", "last_green_dispatch_at", "drained_at", "ended_at"]
    {
        assert!(shift[moment].is_string(), "{moment}: {shift:#}");
    }
    assert!(shift["green_responses_to_decision"].as_u64().unwrap() < 20, "{shift:#}");
    assert!(shift["explanation"].as_str().unwrap().contains("error_rate"), "{shift:#}");
    let served = green.served();
    for _ in 0..20 {
        assert_eq!(snapback.ask().body, b"v1");
    }
    assert_eq!(green.served(), served);
}

#[test]
fn a_green_that_takes_requests_and_never_answers_is_snapped_back_by_its_latency_guard() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    green.hang();
    let mut plan = plan(green.address, "30s");
    plan["guard"] = json!([{ "metric": "latency", "quantile": "p99", "below": "100ms" }]);
    let id = snapback.start_shift(&plan);
    snapback.wait_until(&id, |shift| shift["state"] == "baking");
    let open: Vec<_> = (0..20).map(|_| snapback.ask_and_hold()).collect();
    let shift = snapback.wait_until(&id, |shift| shift["state"] != "baking");
    assert_eq!(
        (&shift["state"], &shift["cause"]["kind"], &shift["green_responses_to_decision"]),
        (&json!("rolling_back"), &json!("alarm"), &json!(0)),
        "{shift:#}"
    );
    assert!(shift["green_in_flight_at_decision"].as_u64().unwrap() >= 3, "{shift:#}");
    drop(open);
    let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "rolled_back", "{shift:#}");
    assert!(shift["alarms"][0]["recent_failures"].as_u64().unwrap() >= 3, "{shift:#}");
}

#[test]
fn a_green_that_fails_while_blue_does_not_is_snapped_back_by_a_regression_alone() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green.address, "30s");
    plan["guard"] = json!([]);
    plan["regression"] = json!([{ "metric": "error_rate", "tolerance": "1.5x" }, { "metric": "latency" }]);
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["alarms"][1]["requests"].as_u64() > Some(20));
    assert_eq!(
        (&shift["state"], &shift["alarms"][0]["kind"]),
        (&json!("baking"), &json!("regression")),
        "{shift:#}"
    );
    green.fail();
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(
        (&shift["state"], &shift["cause"]["alarm"]),
        (&json!("rolled_back"), &json!("error_rate_regression")),
        "{shift:#}"
    );
    assert_eq!(shift["alarms"][0]["blue_failures"], 0, "{shift:#}");
    assert!(
        shift["explanation"].as_str().unwrap().contains("by regression error_rate_regression"),
        "{shift:#}"
    );
}

#[test]
fn a_slow_green_is_snapped_back_by_a_threshold_on_its_p90() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    green.slow_down();
    let mut plan = plan(green.address, "2m");
    plan["guard"] = json!([]);
    plan["threshold"] = json!([{
        "name": "slow", "metric": "latency", "statistic": "p90", "above": "50ms", "period": "1s", "datapoints": "2 of 3"
    }]);
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(
        (&shift["state"], &shift["cause"]["kind"], &shift["cause"]["alarm"]),
        (&json!("rolled_back"), &json!("alarm"), &json!("slow")),
        "{shift:#}"
    );
    let threshold = &shift["thresholds"][0];
    assert_eq!((&threshold["state"], &threshold["breaching"]), (&json!("alarm"), &json!(2)), "{shift:#}");
    let explanation = shift["explanation"].as_str().unwrap();
    assert!(
        explanation
            .starts_with("Rolled back by threshold slow: latency p90 above 50 ms in 2 of 3 periods of 1 s"),
        "{explanation}"
    );
    let admin = format!("http://{}", snapback.admin);
    let status = run(&["shift", "status", &id, "--admin", &admin]);
    assert!(String::from_utf8(status.stdout).unwrap().contains("latency p90 above 50ms"));
    let served = green.served();
    for _ in 0..20 {
        assert_eq!(snapback.ask().body, b"v1");
    }
    assert_eq!(green.served(), served);
}

#[test]
fn a_threshold_holds_a_short_bake_until_it_can_tell_and_then_lets_a_good_green_through() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green.address, "10ms");
    plan["guard"] = json!([]);
    plan["threshold"] = json!([{
        "name": "slow", "metric": "latency", "statistic": "p90", "above": "1m", "period": "1s", "datapoints": "2 of 3"
    }]);
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    let held = shift["transitions"].as_array().unwrap();
    assert_eq!(held.iter().filter(|transition| transition["after"] == "holding").count(), 2, "{shift:#}");
    let threshold = &shift["thresholds"][0];
    assert_eq!((&threshold["state"], &threshold["breaching"]), (&json!("ok"), &json!(0)), "{shift:#}");
}

#[test]
fn an_external_alarm_holds_the_bake_until_it_is_reported_and_snaps_back_when_it_is_raised() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green.address, "10ms");
    plan["guard"] = json!([]);
    plan["external"] = json!([{ "name": "quality", "lease": "20m" }]);
    plan["strategy"]["final_bake"] = json!("20m");
    let id = snapback.start_shift(&plan);
    let admin = format!("http://{}", snapback.admin);
    let set = |state: &str| run(&["alarm", "set", "quality", state, "--reason", "graded", "--admin", &admin]);
    snapback.wait_until(&id, |shift| shift["state"] == "holding");
    assert!(set("ok").status.success());
    let shift = snapback.wait_until(&id, |shift| shift["share"] == "100%");
    assert_eq!(shift["externals"][0]["text"], "reported ok: graded", "{shift:#}");
    let raised = set("alarm");
    let told = String::from_utf8(raised.stdout).unwrap();
    assert!(raised.status.success() && told.contains(&id), "{told}");
    assert_eq!(snapback.ask().body, b"v1");
    let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
    assert_eq!(
        (&shift["state"], &shift["cause"]["alarm"]),
        (&json!("rolled_back"), &json!("quality")),
        "{shift:#}"
    );
    assert!(
        shift["explanation"]
            .as_str()
            .unwrap()
            .starts_with("Rolled back by external alarm quality: reported alarm: graded"),
        "{shift:#}"
    );
    assert!(set("ok").status.success(), "a report that still holds would refuse the next shift");
    let (status, _) = snapback.admin("POST", "/v1/alarms/quality/state", "{\"state\":\"fine\"}");
    assert_eq!(status, 422);
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_refused_with_what_would_be_right() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let good = plan(green.address, "30s");
    let (status, problem) = snapback.admin("POST", "/v1/endpoints/chta/shifts", &good.to_string());
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("chat"), "{problem}");

    let mut falling = good.clone();
    falling["strategy"] = json!({ "type": "steps", "final_bake": "1s",
        "steps": [{ "share": "20%", "bake": "1s" }, { "share": "10%", "bake": "1s" }] });
    let mut blind = good.clone();
    blind["strategy"] = json!({ "type": "canary", "share": "50%", "bake": "0s", "final_bake": "0s" });
    let mut alone = good.clone();
    alone["strategy"] = json!({ "type": "all_at_once", "final_bake": "1s" });
    alone["regression"] = json!([{ "metric": "error_rate" }]);
    let mut misspelt = good.clone();
    misspelt["execution_timeuot"] = json!("20m");
    for (bad, needle) in [
        (falling, "must rise"),
        (blind, "every bake is 0s"),
        (alone, "a blue that takes traffic"),
        (misspelt, "execution_timeout"),
    ] {
        let (status, problem) = snapback.admin("POST", "/v1/endpoints/chat/shifts", &bad.to_string());
        assert_eq!(status, 422, "{problem}");
        assert!(problem.to_string().contains(needle), "{problem}");
    }
    let (_, shifts) = snapback.admin("GET", "/v1/endpoints/chat/shifts", "");
    assert_eq!(shifts["shifts"], json!([]));
}

#[test]
fn a_second_shift_is_refused_with_the_running_ones_id() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let id = snapback.start_shift(&plan(green.address, "30s"));
    let (status, problem) =
        snapback.admin("POST", "/v1/endpoints/chat/shifts", &plan(green.address, "30s").to_string());
    assert_eq!((status, &problem["running_shift"]), (409, &json!(id)), "{problem}");
}

#[test]
fn an_operator_pauses_resumes_aborts_and_the_command_line_says_how_it_ended() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let id = snapback.start_shift(&plan(green.address, "30s"));
    snapback.drive_until(&id, |shift| shift["state"] == "baking");
    let admin = format!("http://{}", snapback.admin);
    for (command, state) in [("pause", "paused"), ("resume", "baking")] {
        let output = run(&["shift", command, &id, "--admin", &admin, "--reason", "looking at it"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(snapback.shift(&id)["state"], state);
    }
    assert!(run(&["shift", "abort", "chat", "--admin", &admin]).status.success());
    let waited = run(&["shift", "status", &id, "--wait", "--admin", &admin]);
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
    let explained = run(&["shift", "explain", &id, "--admin", &admin]);
    assert!(String::from_utf8(explained.stdout).unwrap().contains("abort"));
}

#[test]
fn promote_skips_the_remaining_bakes() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let id = snapback.start_shift(&plan(green.address, "20m"));
    snapback.drive_until(&id, |shift| shift["state"] == "baking");
    let (status, shift) = snapback.admin("POST", &format!("/v1/shifts/{id}/promote"), "");
    assert_eq!(status, 200, "{shift}");
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted");
}

#[test]
fn a_dry_run_answers_like_the_real_thing_and_changes_nothing() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let body = plan(green.address, "1s").to_string();
    let (status, shift) = snapback.admin("POST", "/v1/endpoints/chat/shifts?dry_run=true", &body);
    assert_eq!((status, shift["steps"].as_array().unwrap().len()), (200, 2), "{shift}");
    let (_, shifts) = snapback.admin("GET", "/v1/endpoints/chat/shifts", "");
    assert_eq!(shifts["shifts"], json!([]));
}
