//! Endpoints with several models, and shifts over them.

use std::{fs, net::SocketAddr, path::Path, path::PathBuf};

use serde_json::{Value, json};

use crate::bench::{ModelServer, Snapback, run, write_config};

/// Three of four requests are for `a`.
fn config(folder: &Path, [a, b]: [SocketAddr; 2]) -> PathBuf {
    let path = write_config(folder, a);
    let list = format!("instances = [\"{a}\"]");
    let variants = format!(
        "variants = [{{ name = \"a\", weight = 3, instances = [\"{a}\"] }}, {{ name = \"b\", instances = [\"{b}\"] }}]"
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&list), "{text}");
    fs::write(&path, text.replace(&list, &variants)).unwrap();
    path
}

fn plan([a, b]: [SocketAddr; 2], bake: &str) -> Value {
    json!({
        "green": { "version": "v2", "variants": [
            { "name": "a", "instances": [a.to_string()] },
            { "name": "b", "instances": [b.to_string()] },
        ] },
        "strategy": { "type": "canary", "share": "50%", "bake": bake, "final_bake": "100ms" },
        "drain_timeout": "5s",
        "guard": [{ "metric": "error_rate", "below": "1%" }],
    })
}

/// How many of forty requests each of these models answers.
fn answers(snapback: &Snapback, names: [&str; 2]) -> [usize; 2] {
    let bodies: Vec<_> = (0..40).map(|_| snapback.ask().body).collect();
    names.map(|name| bodies.iter().filter(|body| *body == name.as_bytes()).count())
}

struct Models {
    blue: [ModelServer; 2],
    green: [ModelServer; 2],
}

impl Models {
    fn start() -> Self {
        Self { blue: ["a1", "b1"].map(ModelServer::start), green: ["a2", "b2"].map(ModelServer::start) }
    }

    fn addresses(models: &[ModelServer; 2]) -> [SocketAddr; 2] {
        [models[0].address, models[1].address]
    }
}

#[test]
fn a_good_green_is_promoted_with_all_its_variants_and_weights_change_by_hand() {
    let (folder, models) = (tempfile::tempdir().unwrap(), Models::start());
    let snapback = Snapback::start(&config(folder.path(), Models::addresses(&models.blue)));
    let id = snapback.start_shift(&plan(Models::addresses(&models.green), "300ms"));
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    let [a, b] = answers(&snapback, ["a2", "b2"]);
    assert!(a + b == 40 && a > b && b > 0, "{a} and {b}, which two workers deal 3 to 1");
    let admin = format!("http://{}", snapback.admin);
    let weighed = run(&["endpoint", "weights", "chat", "a=0", "b=1", "--admin", &admin]);
    assert!(weighed.status.success(), "{weighed:?}");
    assert_eq!(answers(&snapback, ["a2", "b2"]), [0, 40]);
    let (_, endpoint) = snapback.admin("GET", "/v1/endpoints/chat", "");
    let variants = &endpoint["blue"]["variants"];
    assert_eq!((&variants[0]["weight"], &variants[1]["weight"]), (&json!(0.0), &json!(1.0)), "{endpoint:#}");
    assert!(variants[0]["traffic"]["requests"].as_u64() > Some(0), "counts go on: {endpoint:#}");
}

#[test]
fn one_variant_that_fails_brings_all_of_them_back() {
    let (folder, models) = (tempfile::tempdir().unwrap(), Models::start());
    let snapback = Snapback::start(&config(folder.path(), Models::addresses(&models.blue)));
    models.green[1].fail();
    let id = snapback.start_shift(&plan(Models::addresses(&models.green), "60s"));
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(
        (&shift["state"], &shift["cause"]["kind"]),
        (&json!("rolled_back"), &json!("alarm")),
        "{shift:#}"
    );
    let served = models.green.each_ref().map(ModelServer::served);
    let [a, b] = answers(&snapback, ["a1", "b1"]);
    assert!(a + b == 40 && a > b && b > 0, "{a} and {b}");
    assert_eq!(models.green.each_ref().map(ModelServer::served), served);
}
