//! Rolling shifts on the real binary: three instances for three, one after the other, with traffic all the time.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::{ModelServer, Snapback, request, write_config};

/// Three servers of blue, three of green, and a proxy in front of blue.
struct Stage {
    blue: Vec<ModelServer>,
    green: Vec<ModelServer>,
    snapback: Snapback,
    _folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let three = |name| (0..3).map(|_| ModelServer::start(name)).collect::<Vec<_>>();
        let (blue, green) = (three("v1"), three("v2"));
        let config = write_config(folder.path(), blue[0].address);
        let text = std::fs::read_to_string(&config).unwrap();
        let one = format!("\"{}\"", blue[0].address);
        let all: Vec<_> = blue.iter().map(|server| format!("\"{}\"", server.address)).collect();
        std::fs::write(&config, text.replace(&one, &all.join(", "))).unwrap();
        let snapback = Snapback::start(&config);
        Self { blue, green, snapback, _folder: folder }
    }

    fn plan(&self, bake: &str) -> Value {
        let green: Vec<_> = self.green.iter().map(|server| server.address.to_string()).collect();
        json!({
            "green": { "version": "v2", "instances": green },
            "strategy": { "type": "rolling", "batch": "33%", "bake": bake },
            "ready_timeout": "2s",
            "guard": [{ "metric": "error_rate", "below": "1%" }],
        })
    }

    /// Drives a shift into the second batch, and lets that batch's server fail once blue's first server has gone.
    fn fail_second_batch(&self, id: &str) -> Value {
        self.snapback.drive_until(id, |shift| shift["share"] == "66.67%");
        self.blue[2].sicken();
        self.snapback.wait_until(id, |_| self.is_unhealthy(2));
        self.green[1].fail();
        self.snapback.drive_until(id, |shift| shift["state"] != "baking")
    }

    fn is_unhealthy(&self, blue: usize) -> bool {
        let (_, endpoint) = self.snapback.admin("GET", "/v1/endpoints/chat", "");
        let address = self.blue[blue].address.to_string();
        let instances = endpoint["blue"]["instances"].as_array().unwrap();
        instances.iter().any(|instance| instance["address"] == *address && instance["health"] == "unhealthy")
    }
}

fn instances(shift: &Value) -> (u64, u64) {
    let count = |fleet: &str| shift["instances"][fleet].as_u64().unwrap();
    (count("blue"), count("green"))
}

#[test]
fn no_client_sees_an_error_and_no_more_than_four_of_three_instances_serve() {
    let stage = Stage::new();
    let id = stage.snapback.start_shift(&stage.plan("500ms"));
    let (is_over, snapback, data) = (AtomicBool::new(false), &stage.snapback, stage.snapback.data);
    let (answers, most) = thread::scope(|scope| {
        let client = || {
            let mut answers = Vec::new();
            while !is_over.load(SeqCst) {
                answers.push(request(data, "POST", "/v1/completions", "{}").status);
            }
            answers
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        let mut most = 0;
        let shift = snapback.wait_until(&id, |shift| {
            let (blue, green) = instances(shift);
            assert!(blue + green >= 3, "{shift:#}");
            most = most.max(blue + green);
            shift["over"] == true
        });
        is_over.store(true, SeqCst);
        assert_eq!(shift["state"], "promoted", "{shift:#}");
        (clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>(), most)
    });
    assert_eq!(most, 4);
    assert!(answers.len() > 100 && answers.iter().all(|status| *status == 200), "{}", answers.len());
    let before: u64 = stage.blue.iter().map(ModelServer::served).sum();
    for _ in 0..20 {
        assert_eq!(stage.snapback.ask().body, b"v2");
    }
    assert_eq!(stage.blue.iter().map(ModelServer::served).sum::<u64>(), before);
    assert!(stage.green.iter().all(|server| server.served() > 0), "all of green serve");
}

#[test]
fn an_alarm_in_the_second_batch_gives_blue_everything_at_once_and_its_instance_back_when_it_is_healthy() {
    let stage = Stage::new();
    let mut plan = stage.plan("30s");
    plan["strategy"]["bake"] = json!("1s");
    plan["ready_timeout"] = json!("30s");
    let id = stage.snapback.start_shift(&plan);
    let shift = stage.fail_second_batch(&id);
    assert_eq!((&shift["share"], instances(&shift)), (&json!("0%"), (2, 0)), "{shift:#}");
    let explanation = shift["explanation"].as_str().unwrap();
    assert!(explanation.contains("theirs to refuse"), "{explanation}");
    for _ in 0..20 {
        assert_eq!(stage.snapback.ask().body, b"v1", "two of three serve meanwhile");
    }
    stage.blue[2].recover();
    let shift = stage.snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!((&shift["state"], instances(&shift)), (&json!("rolled_back"), (3, 0)), "{shift:#}");
    assert_eq!(shift["cause"]["kind"], "alarm", "{shift:#}");
}

#[test]
fn with_a_rollback_batch_green_keeps_what_blue_cannot_take() {
    let stage = Stage::new();
    let mut plan = stage.plan("1s");
    plan["strategy"]["rollback_batch"] = json!(1);
    plan["ready_timeout"] = json!("30s");
    let id = stage.snapback.start_shift(&plan);
    let shift = stage.fail_second_batch(&id);
    assert_eq!((&shift["share"], instances(&shift)), (&json!("33.34%"), (2, 1)), "{shift:#}");
    stage.blue[2].recover();
    let shift = stage.snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!((&shift["state"], instances(&shift)), (&json!("rolled_back"), (3, 0)), "{shift:#}");
}

#[test]
fn a_rollback_that_fails_serves_what_is_left_until_the_next_shift_replaces_it() {
    let stage = Stage::new();
    let mut plan = stage.plan("1s");
    plan["strategy"]["rollback_batch"] = json!(1);
    let id = stage.snapback.start_shift(&plan);
    stage.fail_second_batch(&id);
    let shift = stage.snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!((&shift["state"], instances(&shift)), (&json!("rollback_failed"), (2, 1)), "{shift:#}");
    let bodies: Vec<_> = (0..60).map(|_| stage.snapback.ask().body).collect();
    assert!(bodies.contains(&b"v1".to_vec()) && bodies.contains(&b"v2".to_vec()), "the mix serves");
    let repair = ModelServer::start("v3");
    let plan = json!({
        "green": { "version": "v3", "instances": [repair.address.to_string()] },
        "strategy": { "type": "all_at_once", "final_bake": "100ms" },
        "guard": [{ "metric": "error_rate", "below": "1%" }],
    });
    let id = stage.snapback.start_shift(&plan);
    let shift = stage.snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    assert!((0..20).all(|_| stage.snapback.ask().body == b"v3"));
}
