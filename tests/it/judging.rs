//! What counts as a failure, what is too little to judge by, and what ends a shift or a step before its time.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::bench::{ModelServer, Snapback, plan, read_head, run, write_config};

/// A green that is well in its health checks and answers everything else with this.
fn green_saying(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut reader, mut writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
                while let Some((path, length)) = read_head(&mut reader) {
                    reader.read_exact(&mut vec![0; length]).unwrap();
                    let (status, body) = if path == "/health" { ("200 OK", "") } else { (status, body) };
                    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                    if writer.write_all((head + body).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The config with these lines about its endpoint.
fn config_with(folder: &Path, blue: SocketAddr, lines: &str) -> PathBuf {
    let path = write_config(folder, blue);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + lines).unwrap();
    path
}

/// Runs this plan to its end under traffic.
fn over(green: SocketAddr, lines: &str, change: impl Fn(&mut Value)) -> Value {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&config_with(folder.path(), blue.address, lines));
    let mut plan = plan(green, "300ms");
    change(&mut plan);
    let id = snapback.start_shift(&plan);
    snapback.drive_until(&id, |shift| shift["over"] == true)
}

#[test]
fn an_endpoint_says_which_answers_are_failures() {
    let long = |plan: &mut Value| plan["strategy"]["bake"] = json!("30s");
    let counts = |shift: &Value, kind: &str| shift["fleets"]["green"]["traffic"]["failures"][kind].is_u64();
    for (status, body, lines, kind) in [
        ("404 Not Found", "no such model", "failures = { statuses = [404, \"5xx\"] }", "server_error"),
        ("422 Wrong", "", "failures = { client_errors = true }", "client_error"),
        ("200 OK", "{\"error\":\"CUDA\"}", "failures = { body = { field = \"error\" } }", "in_band"),
    ] {
        let shift = over(green_saying(status, body), lines, long);
        assert_eq!(
            (&shift["state"], &shift["cause"]["kind"]),
            (&json!("rolled_back"), &json!("alarm")),
            "{shift:#}"
        );
        assert!(counts(&shift, kind), "{kind}: {shift:#}");
    }
    let shift = over(green_saying("500 Bad input", ""), "failures = { statuses = [503] }", |_| {});
    assert_eq!(
        (&shift["state"], &shift["fleets"]["green"]["traffic"]["failed"]),
        (&json!("promoted"), &json!(0))
    );
}

#[test]
fn failures_that_clients_see_end_the_shift_at_the_plans_number() {
    let shift = over(green_saying("500 Broken", ""), "rescue = { on = \"never\" }", |plan| {
        plan["guard"] = json!([]);
        plan["max_failures"] = json!(7);
        plan["strategy"]["bake"] = json!("30s");
    });
    let traffic = &shift["fleets"]["green"]["traffic"];
    assert_eq!(
        (&shift["cause"]["kind"], &traffic["rescued"]),
        (&json!("failure_budget"), &json!(0)),
        "{shift:#}"
    );
    assert!(shift["explanation"].as_str().unwrap().contains("the plan ends the shift at 7"), "{shift:#}");
}

#[test]
fn rescued_failures_stand_on_a_line_of_their_own_and_end_nothing() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = config_with(folder.path(), blue.address, "rescue = { budget = \"100%\" }");
    let snapback = Snapback::start(&config);
    let mut plan = plan(green_saying("500 Broken", ""), "30s");
    plan["guard"] = json!([]);
    plan["max_failures"] = json!(7);
    let id = snapback.start_shift(&plan);
    let green = |shift: &Value| shift["fleets"]["green"]["traffic"].clone();
    let shift = snapback.drive_until(&id, |shift| green(shift)["failed"].as_u64().unwrap() > 20);
    let traffic = green(&shift);
    assert_eq!((&shift["state"], &traffic["rescued"]), (&json!("baking"), &traffic["failed"]), "{shift:#}");
    assert_eq!((&shift["failure_budget"]["failures"], &traffic["rescue_failed"]), (&json!(0), &json!(0)));
}

#[test]
fn a_bake_without_a_request_holds_passes_or_fails_as_the_plan_says() {
    for (no_data, state) in [(None, "holding"), (Some("pass"), "promoted"), (Some("fail"), "rolled_back")] {
        let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
        let green = ModelServer::start("v2");
        let snapback = Snapback::start(&write_config(folder.path(), blue.address));
        let mut plan = plan(green.address, "50ms");
        if let Some(no_data) = no_data {
            plan["no_data"] = json!(no_data);
        }
        let id = snapback.start_shift(&plan);
        let shift = snapback.wait_until(&id, |shift| shift["state"] == state);
        let told = shift["explanation"].as_str().unwrap();
        match state {
            "holding" => assert!(told.contains("the bake is over, but"), "{told}"),
            "rolled_back" => assert_eq!(shift["cause"]["kind"], "no_data", "{shift:#}"),
            _ => {}
        }
        if state == "holding" {
            let over = snapback.drive_until(&id, |shift| shift["over"] == true);
            assert_eq!(over["state"], "promoted", "it goes on once there is enough");
        }
    }
}

#[test]
fn a_slow_warm_up_raises_no_latency_guard_and_is_told() {
    let green = ModelServer::start("v2");
    green.slow_down();
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green.address, "30s");
    plan["guard"] = json!([{ "metric": "latency", "quantile": "p99", "below": "50ms" }]);
    plan["warm_up"] = json!({ "requests": 20 });
    let id = snapback.start_shift(&plan);
    let warm_ups = |shift: &Value| shift["fleets"]["green"]["traffic"]["warm_ups"].as_u64().unwrap();
    let part = snapback.drive_until(&id, |shift| (1..20).contains(&warm_ups(shift)));
    let told = format!("Green warms up: {} of 20 warm-up requests so far", warm_ups(&part));
    assert!(part["explanation"].as_str().unwrap().contains(&told), "{part:#}");
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    let requests = shift["fleets"]["green"]["traffic"]["requests"].as_u64().unwrap();
    assert!((22..40).contains(&requests), "the first after the warm-up are what raises it: {shift:#}");
    assert_eq!(warm_ups(&shift), 20);
}

#[test]
fn a_green_that_is_shown_to_be_good_ends_its_step_early_and_no_earlier_than_ten_seconds() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let green = ModelServer::start("v2");
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green.address, "10m");
    plan["strategy"]["final_bake"] = json!("100ms");
    plan["strategy"]["ramp_when_safe"] = json!({ "margin": "5%", "requests": 50 });
    plan["regression"] = json!([{ "metric": "error_rate", "tolerance": "5%" }]);
    let began = Instant::now();
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    let told = shift.to_string();
    assert!(told.contains("that green is within every bound"), "{shift:#}");
}

#[test]
fn a_step_that_shows_too_little_of_a_good_green_lasts_its_whole_bake() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let green = ModelServer::start("v2");
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green.address, "12s");
    // A thousand times as many requests as this step gets would show it.
    plan["guard"] = json!([{ "metric": "error_rate", "below": "0.0001%" }]);
    plan["strategy"]["final_bake"] = json!("100ms");
    plan["strategy"]["ramp_when_safe"] = json!({});
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    assert!(!shift.to_string().contains("that green is within every bound"), "{shift:#}");
}

#[test]
fn a_green_that_hangs_is_worse_than_blue_at_the_endpoints_bound_without_one_completion() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let green = ModelServer::start("v2");
    green.hang();
    let lines = "limits = { head_timeout = \"200ms\" }\nrescue = { on = \"never\" }\n";
    let snapback = Snapback::start(&config_with(folder.path(), blue.address, lines));
    let mut plan = plan(green.address, "10m");
    plan["guard"] = json!([]);
    plan["regression"] = json!([{ "metric": "error_rate" }]);
    let id = snapback.start_shift(&plan);
    snapback.wait_until(&id, |shift| shift["state"] == "baking");
    let open: Vec<_> = (0..60).map(|_| snapback.ask_and_hold()).collect();
    let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
    let alarm = &shift["alarms"][0];
    assert_eq!(
        (&shift["state"], &shift["cause"]["alarm"], &alarm["blue_failures"]),
        (&json!("rolled_back"), &json!("error_rate_regression"), &json!(0)),
        "{shift:#}"
    );
    assert_eq!(alarm["failures"], alarm["requests"], "none of green's requests was completed: {alarm:#}");
    drop(open);
}

#[test]
fn a_green_that_hangs_is_slower_than_blue_at_blues_own_quantiles_without_one_completion() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let green = ModelServer::start("v2");
    green.hang();
    let snapback =
        Snapback::start(&config_with(folder.path(), blue.address, "rescue = { on = \"never\" }\n"));
    (0..120).for_each(|_| assert_eq!(snapback.ask().status, 200));
    let mut plan = plan(green.address, "10m");
    plan["guard"] = json!([]);
    plan["regression"] = json!([{ "metric": "latency", "tolerance": "2x" }]);
    let id = snapback.start_shift(&plan);
    snapback.wait_until(&id, |shift| shift["state"] == "baking");
    let mut open = Vec::new();
    let shift = snapback.wait_until(&id, |shift| {
        open.push(snapback.ask_and_hold());
        shift["over"] == true
    });
    let alarm = &shift["alarms"][0];
    assert_eq!(
        (&shift["state"], &shift["cause"]["alarm"]),
        (&json!("rolled_back"), &json!("latency_regression")),
        "{shift:#}"
    );
    assert_eq!(alarm["failures"], alarm["requests"], "none of green's requests was completed: {alarm:#}");
    assert_eq!(shift["green_responses_to_decision"], 0, "{shift:#}");
    drop(open);
}

#[test]
fn plans_that_cannot_work_are_refused_with_what_would_be_right() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let refused = |change: &dyn Fn(&mut Value), wanted: &str| {
        let mut plan = plan(ModelServer::start("v2").address, "1m");
        change(&mut plan);
        let (status, problem) =
            snapback.admin("POST", "/v1/endpoints/chat/shifts?dry_run=true", &plan.to_string());
        assert!(
            (400..500).contains(&status) && problem.to_string().contains(wanted),
            "{wanted}: {problem:#}"
        );
    };
    let guard = |metric: Value| move |plan: &mut Value| plan["guard"] = json!([metric.clone()]);
    for quantile in ["p0", "p100", "p101", "0.99"] {
        let latency = json!({ "metric": "latency", "quantile": quantile, "below": "1s" });
        refused(&guard(latency), "above p0 and below p100");
    }
    for (below, wanted) in
        [("50ns", "finer than the histograms' buckets"), ("3h", "beyond the histograms' last")]
    {
        refused(&guard(json!({ "metric": "latency", "quantile": "p99", "below": below })), wanted);
    }
    refused(&guard(json!({ "metric": "error_rate", "below": "0%" })), "above 0% and below 100%");
    refused(
        &|plan| {
            plan["guard"] =
                json!([{ "metric": "error_rate", "below": "1%" }, { "metric": "error_rate", "below": "2%" }])
        },
        "there are two alarms called",
    );
    let at_once = |plan: &mut Value| plan["strategy"] = json!({ "type": "all_at_once", "final_bake": "1m" });
    refused(
        &|plan| {
            at_once(plan);
            plan["regression"] = json!([{ "metric": "error_rate" }]);
        },
        "all_at_once has no step below 100%",
    );
    refused(
        &|plan| {
            at_once(plan);
            plan["strategy"]["ramp_when_safe"] = json!({});
        },
        "use the strategy canary, linear or steps",
    );
    refused(
        &|plan| plan["regression"] = json!([{ "metric": "latency", "tolerance": "1.001x" }]),
        "finer than the buckets",
    );
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[[endpoint]]\nname = \"a\"\nblue = { version = \"1\", instances = [\"a:1\"] }\nfailures = { statuses = [200] }\n")
        .unwrap();
    let output = run(&["check", "-c", file.to_str().unwrap()]);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("expected a status from 400 to 599"), "{said}");
}
