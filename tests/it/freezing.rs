//! What operators hold and let go on, by the real binary and its command line.

use serde_json::json;

use crate::bench::{ModelServer, Snapback, plan, run, write_config};

fn told(snapback: &Snapback, command: &[&str]) -> String {
    let admin = format!("http://{}", snapback.admin);
    let output = run(&[command, &["--admin", &admin]].concat());
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_freeze_outlives_a_kill_holds_a_shift_and_lets_it_go_on_when_it_is_lifted() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    let mut plan = plan(green.address, "200ms");
    plan["no_data"] = json!("pass");
    plan["strategy"] = json!({ "type": "canary", "share": "50%", "bake": "2s", "final_bake": "200ms" });
    let id = snapback.start_shift(&plan);
    snapback.wait_until(&id, |shift| shift["state"] == "baking");
    let said = told(&snapback, &["freeze", "chat", "--reason", "incident 1207"]);
    assert!(said.contains("chat is frozen by") && said.contains("incident 1207"), "{said}");
    snapback.kill_nine();

    let snapback = Snapback::start(&config);
    let shift = snapback.drive_until(&id, |shift| shift["state"] == "holding");
    assert_eq!(shift["share"], "50%", "{shift:#}");
    assert!(
        shift["explanation"].as_str().unwrap().contains("It may not go on: chat is frozen by"),
        "{shift:#}"
    );
    assert!(told(&snapback, &["endpoint", "show", "chat"]).contains("freeze    chat is frozen by"));
    let (status, refused) = snapback.admin("POST", &format!("/v1/shifts/{id}/promote"), r#"{"skip":"bake"}"#);
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("incident 1207"), "{refused}");
    assert_eq!(told(&snapback, &["unfreeze", "chat"]).trim(), "nothing is frozen");
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
}

#[test]
fn one_bake_is_skipped_by_the_command_line_and_a_frozen_endpoint_starts_nothing() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green.address, "200ms");
    plan["strategy"] = json!({ "type": "canary", "share": "50%", "bake": "10m", "final_bake": "10m" });
    let (_, frozen) = snapback.admin("POST", "/v1/freeze", r#"{"reason":"end of the year"}"#);
    assert_eq!(frozen["freezes"][0]["endpoint"], json!(null), "{frozen}");
    let (status, refused) = snapback.admin("POST", "/v1/endpoints/chat/shifts", &plan.to_string());
    assert_eq!((status, &refused["type"]), (409, &json!("urn:snapback:frozen")), "{refused}");
    snapback.admin("POST", "/v1/unfreeze", "");
    let id = snapback.start_shift(&plan);
    snapback.wait_until(&id, |shift| shift["state"] == "baking");
    told(&snapback, &["shift", "promote", "chat", "--bake"]);
    let shift = snapback.shift(&id);
    assert_eq!((&shift["state"], &shift["share"]), (&json!("baking"), &json!("100%")), "{shift:#}");
    let body = r#"{"skip":"bake","step":1}"#;
    let (status, shift) = snapback.admin("POST", &format!("/v1/shifts/{id}/promote"), body);
    assert_eq!((status, &shift["state"]), (200, &json!("baking")), "{shift:#}");
}
