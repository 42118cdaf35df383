//! Fleets of processes over time: replaced when sick, moved, kept, handed over, declared anew.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    handing_over::Sockets,
    providing::{Place, endpoint, kill, provider, wait_for, wait_until_healthy, wait_until_served_by},
};

/// A model server whose checks fail while a file with its port's number is there.
const FICKLE: &str = "
import http.server, pathlib, sys
port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
class Model(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if (folder / str(port)).exists() else 200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(('127.0.0.1', port), Model).serve_forever()
";

fn address(endpoint: &Value) -> SocketAddr {
    endpoint["blue"]["instances"][0]["address"].as_str().unwrap().parse().unwrap()
}

#[test]
fn an_instance_that_fails_its_checks_for_long_is_let_go_and_another_takes_its_place() {
    let place = Place::of(|folder| {
        json!({
            "type": "process", "count": 2, "replace_after": "300ms", "stop_grace": "5s",
            "command": ["python3", "-c", FICKLE, "{port}", folder.to_str().unwrap()],
        })
    });
    let snapback = place.start();
    let sick = address(&wait_until_healthy(&snapback, 2));
    let before = place.wait_for_processes(2);
    fs::write(place.path().join(sick.port().to_string()), "").unwrap();
    snapback.wait_for_log("instance.stopped");
    let after = wait_for("another in its place", || {
        let after = wait_until_healthy(&snapback, 2);
        let addresses = after["blue"]["instances"].as_array().unwrap();
        addresses.iter().all(|instance| instance["address"] != sick.to_string()).then_some(after)
    });
    assert_eq!(after["blue"]["desired"], 2);
    let processes = place.wait_for_processes(2);
    assert_eq!(processes.intersection(&before).count(), 1, "the other one stays");
}

#[test]
fn a_process_whose_port_is_somebody_elses_by_now_listens_on_another() {
    let place = Place::new(1);
    let snapback = place.start();
    let before = address(&wait_until_healthy(&snapback, 1));
    let [(number, _)] = place.wait_for_processes(1).into_iter().collect::<Vec<_>>()[..] else { panic!() };
    kill(number);
    let _squatter = wait_for("the port that it has left", || TcpListener::bind(before).ok());
    snapback.wait_for_log("instance.moved");
    let after = wait_for("another address", || {
        let after = address(&wait_until_healthy(&snapback, 1));
        (after != before).then_some(after)
    });
    assert_ne!(after, before);
    wait_until_served_by(&snapback, "v1");
}

#[test]
fn processes_that_are_to_be_kept_go_on_after_an_orderly_end_and_the_next_start_takes_them_over() {
    let place = Place::of(|_| {
        let mut provider = provider("v1", Some(2));
        provider["on_exit"] = "keep".into();
        provider
    });
    let snapback = place.start();
    wait_until_healthy(&snapback, 2);
    let before = place.wait_for_processes(2);
    snapback.signal("-TERM");
    assert_eq!(snapback.end().0, Some(0));
    assert_eq!(place.processes(), before);
    let snapback = place.start();
    assert_eq!(snapback.ask().body, b"v1", "at once");
    wait_until_healthy(&snapback, 2);
    assert_eq!(place.processes(), before);
}

#[test]
fn a_process_that_takes_over_the_sockets_takes_over_the_instances_too() {
    let place = Place::new(2);
    let sockets = Sockets::open();
    let before = sockets.pass_to(&place.config()).announced(&sockets);
    wait_until_healthy(&before, 2);
    let processes = place.wait_for_processes(2);
    let successor = sockets.pass_to(&place.config());
    successor.wait_for("waiting for the process before");
    before.signal("-TERM");
    let after = successor.announced(&sockets);
    assert_eq!(before.end().0, Some(0));
    assert_eq!(after.ask().body, b"v1", "at once");
    wait_until_healthy(&after, 2);
    assert_eq!(place.processes(), processes);
}

#[test]
fn a_fleet_declared_anew_takes_the_place_of_the_one_in_service_when_it_is_ready() {
    let place = Place::new(1);
    let snapback = place.start();
    wait_until_healthy(&snapback, 1);
    let before = place.wait_for_processes(1);
    let declared = json!({
        "blue": { "version": "v9", "provider": provider("v9", Some(2)) },
        "health": { "path": "/health", "interval": "50ms" },
    });
    let (status, told) = snapback.admin("PUT", "/v1/endpoints/chat", &declared.to_string());
    assert_eq!(status, 200, "{told}");
    let answer = snapback.ask();
    assert_eq!(answer.status, 200, "the old one serves meanwhile");
    wait_until_served_by(&snapback, "v9");
    wait_until_healthy(&snapback, 2);
    wait_for("the end of the old one", || {
        let processes = place.processes();
        (processes.len() == 2 && processes.is_disjoint(&before)).then_some(())
    });
    assert_eq!(endpoint(&snapback)["blue"]["version"], "v9");
}

#[test]
fn a_command_that_hangs_is_killed_and_rolls_the_shift_back_with_blue_untouched() {
    let place = Place::new(1);
    let snapback = place.start();
    wait_until_healthy(&snapback, 1);
    let mark = place.path().join("asked");
    let script = format!("echo $$ >> {}; sleep 1000", mark.display());
    let plan = json!({
        "green": { "version": "v2", "provider": {
            "type": "command", "count": 1, "timeout": "200ms", "provision": ["sh", "-c", script],
            "list": ["echo", "{\"instances\": []}"], "retire": ["true"],
        } },
        "strategy": { "type": "all_at_once", "final_bake": "1s" },
    });
    let id = snapback.start_shift(&plan);
    let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "rolled_back", "{shift:#}");
    assert!(shift["cause"].to_string().contains("did not end within"), "{:#}", shift["cause"]);
    assert_eq!(snapback.ask().body, b"v1");
    let asked = fs::read_to_string(mark).unwrap();
    assert!(asked.lines().count() >= 3, "a failed call is made again: {asked}");
    let lives = |number: &str| Path::new(&format!("/proc/{number}/cmdline")).exists();
    wait_for("an end of all that hung", || (!asked.lines().any(lives)).then_some(()));
}
