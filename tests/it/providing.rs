//! Fleets of processes: started, watched over, taken over after a crash, and ended, and none is ever left.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::bench::{PATIENCE, Snapback};

/// A folder with a configuration whose endpoint `chat` is served by processes of v1. Whatever is still there at its end is killed.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(count: usize) -> Self {
        Self::of(|_| provider("v1", Some(count)))
    }

    pub(crate) fn of(provider: impl Fn(&Path) -> Value) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let text = format!(
            r#"
[data]
listen = ["127.0.0.1:0"]
workers = 2
[admin]
listen = "127.0.0.1:0"
[state]
path = "{}"
[[endpoint]]
name = "chat"
blue = {{ version = "v1", provider = {} }}
health = {{ path = "/health", interval = "50ms" }}
"#,
            place.folder.path().join("snapback.db").display(),
            toml_of(&provider(place.folder.path())),
        );
        fs::write(place.config(), text).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("snapback.toml")
    }

    pub(crate) fn start(&self) -> Snapback {
        Snapback::start(&self.config())
    }

    /// The living processes that were started for this folder, and whatever they started: process id and fleet.
    pub(crate) fn processes(&self) -> BTreeSet<(u32, String)> {
        let of = |(number, mark): (u32, String)| Some((number, mark.split('|').nth(1)?.to_owned()));
        self.marked().filter_map(of).collect()
    }

    /// How many instances those are: one of them may have started a process of its own for a moment.
    pub(crate) fn instances(&self) -> usize {
        self.marked().map(|(_, mark)| mark).collect::<BTreeSet<_>>().len()
    }

    fn marked(&self) -> impl Iterator<Item = (u32, String)> {
        let mark = format!("SNAPBACK_INSTANCE={}", self.folder.path().display());
        let of = move |number: u32| {
            let environ = fs::read(format!("/proc/{number}/environ")).ok()?;
            let environ = String::from_utf8_lossy(&environ).into_owned();
            let mark = environ.split('\0').find(|variable| variable.starts_with(&mark))?;
            Some((number, mark.to_owned()))
        };
        let numbers = fs::read_dir("/proc").unwrap().flatten();
        numbers.filter_map(move |entry| of(entry.file_name().to_str()?.parse().ok()?))
    }

    pub(crate) fn wait_for_processes(&self, wanted: usize) -> BTreeSet<(u32, String)> {
        wait_for(&format!("{wanted} processes"), || {
            Some(self.processes()).filter(|processes| processes.len() == wanted)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (number, _) in self.processes() {
            kill(number);
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/processes/model.py")
}

pub(crate) fn provider(version: &str, count: Option<usize>) -> Value {
    let mut provider = json!({
        "type": "process",
        "command": ["python3", script().to_str().unwrap(), "{port}", "{version}"],
        "env": { "MODEL": version },
        "stop_grace": "5s",
    });
    if let Some(count) = count {
        provider["count"] = count.into();
    }
    provider
}

fn plan() -> Value {
    json!({
        "green": { "version": "v2", "provider": provider("v2", None) },
        "strategy": { "type": "canary", "share": "50%", "bake": "300ms", "final_bake": "300ms" },
        "guard": [{ "metric": "error_rate", "below": "5%" }],
    })
}

/// A document of texts, numbers, lists and tables as an inline value of TOML.
fn toml_of(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{key} = {}", toml_of(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value.to_string()
        }
    }
}

pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return found;
        }
        thread::yield_now();
    }
    panic!("never came: {what}");
}

pub(crate) fn kill(number: u32) {
    drop(std::process::Command::new("kill").args(["-9", &number.to_string()]).status());
}

pub(crate) fn wait_until_served_by(snapback: &Snapback, version: &str) {
    wait_for(&format!("an answer of {version}"), || {
        let answer = snapback.ask();
        (answer.status == 200 && answer.body == version.as_bytes()).then_some(())
    });
}

pub(crate) fn endpoint(snapback: &Snapback) -> Value {
    snapback.admin("GET", "/v1/endpoints/chat", "").1
}

pub(crate) fn wait_until_healthy(snapback: &Snapback, count: usize) -> Value {
    wait_for(&format!("{count} healthy instances"), || {
        let endpoint = endpoint(snapback);
        let instances = endpoint["blue"]["instances"].as_array().unwrap();
        let healthy = instances.iter().filter(|instance| instance["health"] == "healthy").count();
        (healthy == count && instances.len() == count).then_some(endpoint)
    })
}

#[test]
fn a_shift_starts_greens_processes_as_many_as_blue_has_and_ends_blues() {
    let place = Place::new(2);
    let snapback = place.start();
    wait_until_healthy(&snapback, 2);
    assert_eq!(snapback.ask().body, b"v1");
    let blue = place.wait_for_processes(2);
    let id = snapback.start_shift(&plan());
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    let green = wait_for("the end of blue's processes", || {
        let processes = place.processes();
        (processes.len() == 2 && processes.is_disjoint(&blue)).then_some(processes)
    });
    assert!(green.iter().all(|(_, fleet)| *fleet == id), "{green:?}");
    wait_until_healthy(&snapback, 2);
    assert_eq!(snapback.ask().body, b"v2");
}

#[test]
fn a_process_that_dies_is_started_again_where_it_was() {
    let place = Place::new(1);
    let snapback = place.start();
    let before = wait_until_healthy(&snapback, 1);
    let [(number, _)] = place.wait_for_processes(1).into_iter().collect::<Vec<_>>()[..] else { panic!() };
    kill(number);
    wait_for("another process", || {
        let processes = place.processes();
        processes.iter().any(|(other, _)| *other != number).then_some(())
    });
    wait_until_served_by(&snapback, "v1");
    let addresses = |endpoint: &Value| endpoint["blue"]["instances"][0]["address"].clone();
    assert_eq!(addresses(&endpoint(&snapback)), addresses(&before));
}

#[test]
fn after_kill_nine_the_same_processes_serve_and_an_orderly_end_ends_them() {
    let place = Place::new(2);
    let snapback = place.start();
    wait_until_healthy(&snapback, 2);
    let before = place.wait_for_processes(2);
    snapback.kill_nine();
    assert_eq!(place.processes(), before, "they outlive the proxy");
    let snapback = place.start();
    assert_eq!(snapback.ask().body, b"v1", "at once, by the processes that are there");
    wait_until_healthy(&snapback, 2);
    assert_eq!(place.processes(), before);
    snapback.signal("-TERM");
    assert_eq!(snapback.end().0, Some(0));
    assert_eq!(place.processes(), BTreeSet::new());
}

#[test]
fn a_green_that_cannot_be_started_rolls_the_shift_back_and_gets_nothing() {
    let place = Place::new(1);
    let snapback = place.start();
    wait_until_healthy(&snapback, 1);
    let mut plan = plan();
    plan["green"]["provider"]["command"][0] = "/nowhere/python3".into();
    let id = snapback.start_shift(&plan);
    let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "rolled_back");
    assert!(shift["cause"].to_string().contains("/nowhere/python3"), "{:#}", shift["cause"]);
    assert_eq!(snapback.ask().body, b"v1");
    place.wait_for_processes(1);
}

#[test]
fn a_fleet_is_scaled_by_hand_up_and_down_but_not_during_a_shift() {
    let place = Place::new(1);
    let snapback = place.start();
    wait_until_healthy(&snapback, 1);
    let scale = |count: u32| {
        let body = json!({ "count": count }).to_string();
        snapback.admin("POST", "/v1/endpoints/chat/scale", &body)
    };
    assert_eq!(scale(3).0, 200);
    let three = wait_until_healthy(&snapback, 3);
    assert_eq!(three["blue"]["desired"], 3);
    place.wait_for_processes(3);
    assert_eq!(scale(0).0, 422);
    assert_eq!(scale(2).0, 200);
    wait_until_healthy(&snapback, 2);
    place.wait_for_processes(2);
    let mut plan = plan();
    plan["strategy"]["bake"] = "20m".into();
    let id = snapback.start_shift(&plan);
    let (status, problem) = scale(1);
    assert_eq!((status, &problem["running_shift"]), (409, &json!(id)), "{problem}");
    snapback.wait_until(&id, |shift| shift["state"] == "baking");
    place.wait_for_processes(4);
    let (status, _) = snapback.admin("POST", &format!("/v1/shifts/{id}/abort"), "");
    assert_eq!(status, 200);
    snapback.wait_until(&id, |shift| shift["over"] == true);
    place.wait_for_processes(2);
}

/// The example's orchestrator, which keeps what it has made in this folder.
fn commands(folder: &Path, count: usize) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/commands/fleet.py");
    let command = json!(["python3", script.to_str().unwrap()]);
    json!({
        "type": "command", "provision": command, "list": command, "retire": command, "count": count,
        "env": { "FLEETS": folder.join("fleets").to_str().unwrap() },
    })
}

/// What the orchestrator has made and not let go.
fn orchestrated(place: &Place) -> usize {
    let folders = fs::read_dir(place.folder.path().join("fleets")).into_iter().flatten().flatten();
    folders.map(|folder| fs::read_dir(folder.path()).unwrap().count()).sum()
}

/// Lets what the orchestrator has made go with the test.
struct Orchestrated<'a>(&'a Place);

impl Drop for Orchestrated<'_> {
    fn drop(&mut self) {
        for folder in fs::read_dir(self.0.folder.path().join("fleets")).into_iter().flatten().flatten() {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let number = file.path().file_stem().and_then(|stem| stem.to_str()?.parse().ok());
                number.into_iter().for_each(kill);
            }
        }
    }
}

#[test]
fn an_operators_commands_make_both_fleets_over_a_crash_and_none_is_left() {
    let place = Place::of(|folder| commands(folder, 2));
    let _orchestrated = Orchestrated(&place);
    let snapback = place.start();
    wait_until_healthy(&snapback, 2);
    let mut plan = plan();
    plan["green"]["provider"] = commands(place.folder.path(), 1);
    let id = snapback.start_shift(&plan);
    snapback.kill_nine();
    let snapback = place.start();
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    wait_for("the retirement of blue", || (orchestrated(&place) == 1).then_some(()));
    assert_eq!(snapback.ask().body, b"v2");
}

#[test]
fn a_provider_that_tells_another_count_or_fails_rolls_the_shift_back_and_blue_serves() {
    let place = Place::new(1);
    let snapback = place.start();
    wait_until_healthy(&snapback, 1);
    let cases = [
        (r#"echo '{"instances": [{"id": "a", "address": "127.0.0.1:9"}]}'"#, "2 instances were ordered"),
        ("echo no quota left >&2; exit 1", "no quota left"),
        ("echo hello", "no list of instances"),
    ];
    for (script, reason) in cases {
        let mut plan = plan();
        plan["green"]["provider"] = json!({
            "type": "command", "count": 2, "provision": ["sh", "-c", script],
            "list": ["echo", "{\"instances\": []}"], "retire": ["true"],
        });
        let id = snapback.start_shift(&plan);
        let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
        assert_eq!(shift["state"], "rolled_back");
        assert!(shift["cause"].to_string().contains(reason), "{:#}", shift["cause"]);
        assert_eq!(snapback.ask().body, b"v1");
    }
}

/// Kills the proxy after ever longer times, so that the blow falls while processes are made, while both fleets serve, and while
/// processes are let go; at the end only those are left that serve.
#[test]
fn kill_nine_while_processes_are_made_and_let_go_leaves_none_behind() {
    let place = Place::new(2);
    let mut snapback = place.start();
    wait_until_healthy(&snapback, 2);
    let id = snapback.start_shift(&plan());
    for round in 0..12 {
        let pause = Instant::now() + Duration::from_millis(round * 23);
        while Instant::now() < pause {
            snapback.ask();
        }
        snapback.kill_nine();
        snapback = place.start();
        assert_eq!(snapback.ask().status, 200, "there is always somebody who serves");
    }
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    wait_until_healthy(&snapback, 2);
    let processes = wait_for("an end of all others", || {
        Some(place.processes()).filter(|processes| processes.iter().all(|(_, fleet)| *fleet == id))
    });
    assert_eq!(processes.len(), 2, "{processes:?}");
}
