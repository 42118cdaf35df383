//! Back to the version before, after the shift is over, by the command line, through a kill.

use crate::bench::{ModelServer, Snapback, plan, run, write_config};

#[test]
fn a_promoted_version_is_undone_after_a_kill_and_refused_once_the_version_before_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (blue, green) = (ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    let id = snapback.start_shift(&plan(green.address, "100ms"));
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    snapback.kill_nine();

    let snapback = Snapback::start(&config);
    let admin = format!("http://{}", snapback.admin);
    let undo = ["endpoint", "undo", "chat", "--reason", "odd answers", "--output", "json", "--admin", &admin];
    let output = run(&undo);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let undone: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&undone["undoes"], &undone["green_version"]),
        (&id.clone().into(), &"v1".into()),
        "{undone:#}"
    );
    let undone = undone["id"].as_str().unwrap();
    let shift = snapback.drive_until(undone, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    assert!(shift["explanation"].as_str().unwrap().starts_with(&format!("The undo of {id}.")), "{shift:#}");
    assert_eq!(snapback.ask().body, b"v1");

    green.sicken();
    let (status, refused) = snapback.admin("POST", "/v1/endpoints/chat/undo", "");
    assert_eq!((status, &refused["type"]), (409, &"urn:snapback:nothing-to-undo".into()), "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("of v2's 1 instances 1 did not pass their check"), "{detail}");
}
