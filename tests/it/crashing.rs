//! kill -9 at any time, and what the next start does.

use serde_json::json;

use crate::bench::{ModelServer, Snapback, plan, write_config};

#[test]
fn after_kill_nine_in_a_bake_the_share_is_served_and_the_shift_goes_on_from_its_step() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    let id = snapback.start_shift(&plan(green.address, "1s"));
    snapback.drive_until(&id, |shift| shift["state"] == "baking" && shift["step"] == 1);
    snapback.kill_nine();

    let snapback = Snapback::start(&config);
    let shift = snapback.shift(&id);
    assert_eq!(
        (&shift["state"], &shift["step"], &shift["share"]),
        (&json!("baking"), &json!(1), &json!("50%"))
    );
    let before = green.served();
    for _ in 0..40 {
        snapback.ask();
    }
    assert!((10..=30).contains(&(green.served() - before)), "{}", green.served() - before);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
}

#[test]
fn after_kill_nine_behind_a_rollback_green_gets_nothing() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    green.fail();
    let id = snapback.start_shift(&plan(green.address, "20m"));
    snapback.drive_until(&id, |shift| shift["state"] == "rolled_back");
    snapback.kill_nine();

    let snapback = Snapback::start(&config);
    let served = green.served();
    for _ in 0..40 {
        assert_eq!(snapback.ask().body, b"v1");
    }
    assert_eq!(green.served(), served);
    assert_eq!(snapback.shift(&id)["state"], "rolled_back");
}

#[test]
fn a_promoted_version_stays_in_service_over_kill_nine() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    let id = snapback.start_shift(&plan(green.address, "100ms"));
    snapback.drive_until(&id, |shift| shift["state"] == "promoted");
    snapback.kill_nine();
    let snapback = Snapback::start(&config);
    for _ in 0..20 {
        assert_eq!(snapback.ask().body, b"v2");
    }
}

/// Kills the process after ever more requests, so that the blow falls at ever other moments of the shift, and holds what the next
/// start serves against what the last one had made durable.
#[test]
fn kill_nine_at_many_moments_never_raises_greens_share() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let mut snapback = Snapback::start(&config);
    let steps: Vec<_> =
        (1..=9).map(|step| json!({ "share": format!("{}%", step * 10), "bake": "200ms" })).collect();
    let mut long = plan(green.address, "20m");
    long["strategy"] = json!({ "type": "steps", "steps": steps, "final_bake": "200ms" });
    let id = snapback.start_shift(&long);
    let mut highest_step = 0;
    for round in 0..8 {
        for _ in 0..(5 + 17 * round) {
            snapback.ask();
        }
        let seen = snapback.shift(&id)["step"].as_u64().unwrap_or(0);
        assert!(seen >= highest_step, "a committed step was lost: {seen} after {highest_step}");
        highest_step = seen;
        snapback.kill_nine();
        snapback = Snapback::start(&config);
        let after = snapback.shift(&id)["step"].as_u64().unwrap_or(0);
        // One step may have been committed between the question and the kill; a start itself never advances.
        assert!((seen..=seen + 1).contains(&after), "step {after} after {seen}");
    }
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
}
