//! What was recorded says again what the shift said.

use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{ModelServer, Snapback, plan, run, write_config};

/// Exports the recording, and has the plan replayed over the file, by the command over the network, and by the admin port.
pub(crate) fn replays(snapback: &Snapback, folder: &Path, plan: &Value) -> Vec<Value> {
    let admin = format!("http://{}", snapback.admin);
    let export = run(&["recording", "export", "chat", "--admin", &admin]);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let (file, plan_file) = (folder.join("chat.ndjson"), folder.join("plan.json"));
    std::fs::write(&file, &export.stdout).unwrap();
    std::fs::write(&plan_file, plan.to_string()).unwrap();
    let plan_file = plan_file.display().to_string();
    let replay = |source: [&str; 2]| {
        let mut words = vec!["plan", "replay", &plan_file, "--admin", &admin, "--output", "json"];
        words.extend(source);
        let replay = run(&words);
        serde_json::from_slice(&replay.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&replay.stderr)))
    };
    let (status, by_port) = snapback.admin("POST", "/v1/endpoints/chat/replay", &plan.to_string());
    assert_eq!(status, 200, "{by_port:#}");
    vec![replay(["--recording", &file.display().to_string()]), replay(["--endpoint", "chat"]), by_port]
}

#[test]
fn a_shift_that_rolled_back_rolls_back_again_for_the_same_reason_and_no_later() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    green.fail();
    let plan = plan(green.address, "30s");
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!((&shift["state"], &shift["cause"]["alarm"]), (&json!("rolled_back"), &json!("error_rate")));
    for replayed in replays(&snapback, folder.path(), &plan) {
        let (replay, end) = (&replayed["replay"], &replayed["replay"]["end"]);
        assert_eq!((&end["state"], &end["alarm"]), (&shift["state"], &shift["cause"]["alarm"]), "{replay:#}");
        assert_eq!(replay["source"], "as_recorded", "{replay:#}");
        assert!(
            end["green_responses"].as_u64() <= shift["green_responses_to_decision"].as_u64(),
            "{replay:#}"
        );
        assert!(end["line"].as_u64() > Some(1), "{replay:#}");
        let other =
            replayed["recording"]["endpoint"] == "chat" && replayed["recording"]["remarks"] == json!([]);
        assert!(other, "{replayed:#}");
    }
}

#[test]
fn a_shift_that_was_promoted_is_promoted_again() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let plan = plan(green.address, "300ms");
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    // Enough for the last bake to end in the recording too.
    (0..20).for_each(|_| assert_eq!(snapback.ask().status, 200));
    for replayed in replays(&snapback, folder.path(), &plan) {
        let end = &replayed["replay"]["end"];
        assert_eq!(end["state"], "promoted", "{replayed:#}");
    }
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, plan_file) = (folder.path().join("bad.ndjson"), folder.path().join("plan.json"));
    let good = r#"{"at_ms":1,"fleet":"blue","status":200,"duration_ms":2}"#;
    let head = r#"{"format":"snapback-recording","version":1}"#;
    std::fs::write(&file, format!("{head}\n{good}\n{{\"at_ms\":2}}\n{good}\n")).unwrap();
    std::fs::write(&plan_file, plan(([127, 0, 0, 1], 1).into(), "1s").to_string()).unwrap();
    let (file, plan_file) = (file.display().to_string(), plan_file.display().to_string());
    let refused = run(&["plan", "replay", &plan_file, "--recording", &file]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("line 3: missing field `fleet`"), "{told}");
}
