//! Shifts that wait for others, by the command line, through a kill.

use crate::bench::{ModelServer, Snapback, plan, run, write_config};

#[test]
fn a_queued_shift_outlives_a_kill_and_a_superseding_one_rolls_the_running_one_back() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two, three, four] = ["v1", "v2", "v3", "v4"].map(ModelServer::start);
    let config = write_config(folder.path(), one.address);
    let snapback = Snapback::start(&config);
    let plan_to = |version: &str, server: &ModelServer, bake: &str| {
        let mut plan = plan(server.address, bake);
        plan["green"]["version"] = version.into();
        plan["no_data"] = "pass".into();
        plan
    };
    let first = snapback.start_shift(&plan_to("v2", &two, "10m"));
    let file = folder.path().join("three.json");
    std::fs::write(&file, plan_to("v3", &three, "100ms").to_string()).unwrap();
    let admin = format!("http://{}", snapback.admin);
    let start =
        ["shift", "start", "chat", file.to_str().unwrap(), "--if-running", "queue", "--admin", &admin];
    let output = run(&start);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "it is still to come: {said}");
    assert!(said.contains(&format!("waits for the promotion of {first}")), "{said}");
    snapback.kill_nine();

    let snapback = Snapback::start(&config);
    let admin = format!("http://{}", snapback.admin);
    let shown = run(&["endpoint", "show", "chat", "--admin", &admin]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("number 1 in the queue, to v3"), "{shown}");
    let four = plan_to("v4", &four, "100ms").to_string();
    let (status, queued) = snapback.admin("POST", "/v1/endpoints/chat/shifts?if_running=supersede", &four);
    assert_eq!((status, &queued["supersedes"]), (202, &first.clone().into()), "{queued:#}");
    let second = queued["id"].as_str().unwrap();
    let over = snapback.drive_until(&first, |shift| shift["over"] == true);
    assert_eq!((&over["state"], &over["superseded_by"]), (&"rolled_back".into(), &second.into()), "{over:#}");
    let (_, queue) = snapback.admin("GET", "/v1/endpoints/chat/queue", "");
    let third = queue["queue"][0]["id"].as_str().unwrap().to_owned();
    let over = snapback.drive_until(second, |shift| shift["over"] == true);
    assert_eq!((&over["state"], &over["supersedes"]), (&"promoted".into(), &first.into()), "{over:#}");
    let over = snapback.drive_until(&third, |shift| shift["over"] == true);
    assert_eq!((&over["state"], &over["blue_version"]), (&"promoted".into(), &"v4".into()), "{over:#}");
    let (status, refused) = snapback.admin("DELETE", &format!("/v1/shifts/{third}"), "");
    assert_eq!((status, &refused["type"]), (404, &"urn:snapback:not-queued".into()), "{refused}");
}

#[test]
fn a_scheduled_shift_waits_through_a_kill_and_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["v1", "v2"].map(ModelServer::start);
    let config = write_config(folder.path(), one.address);
    let snapback = Snapback::start(&config);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let start = jiff::Timestamp::from_second(i64::try_from(now).unwrap() + 3_600).unwrap();
    let mut plan = plan(two.address, "10m");
    plan["start_at"] = start.to_string().into();
    plan["allowed_hours"] = serde_json::json!([{ "from": "09:00", "to": "08:59", "zone": "Europe/Berlin" }]);
    let file = folder.path().join("later.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let admin = format!("http://{}", snapback.admin);
    let output = run(&["shift", "start", "chat", file.to_str().unwrap(), "--admin", &admin]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "it is still to come: {said}");
    assert!(said.contains(&format!("waits for its start at {start:.3}")), "{said}");
    snapback.kill_nine();

    let snapback = Snapback::start(&config);
    let admin = format!("http://{}", snapback.admin);
    let shown = String::from_utf8(run(&["endpoint", "show", "chat", "--admin", &admin]).stdout).unwrap();
    assert!(shown.contains(&format!("waits for its start at {start:.3}")), "{shown}");
    let (_, queue) = snapback.admin("GET", "/v1/endpoints/chat/queue", "");
    let waiting = &queue["queue"][0];
    assert_eq!(waiting["not_before"], format!("{start:.3}"), "{queue:#}");
    assert_eq!(waiting["plan"]["allowed_hours"][0]["zone"], "Europe/Berlin");
    let output = run(&["shift", "cancel", waiting["id"].as_str().unwrap(), "--admin", &admin]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (_, queue) = snapback.admin("GET", "/v1/endpoints/chat/queue", "");
    assert_eq!(queue["queue"], serde_json::json!([]));
}
