//! A failing green costs no client anything.

use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use crate::bench::{ModelServer, Snapback, plan, write_config};

/// Starts a shift to this green and sends traffic until it is over: the shift at its end, and how many answers were not blue's or green's.
fn shift_to(green: SocketAddr, change: impl Fn(&mut Value)) -> (Value, usize, u64) {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut plan = plan(green, "30s");
    change(&mut plan);
    let id = snapback.start_shift(&plan);
    let mut failed = 0;
    for _ in 0..10_000 {
        failed += (0..10).filter(|_| snapback.ask().status != 200).count();
        let shift = snapback.shift(&id);
        if shift["over"] == true {
            return (shift, failed, blue.served());
        }
    }
    panic!("the shift never ended");
}

#[test]
fn a_green_that_fails_every_request_is_snapped_back_and_no_client_sees_a_failure() {
    let green = ModelServer::start("v2");
    green.fail();
    let (shift, failed, blue_served) = shift_to(green.address, |_| {});
    assert_eq!(
        (failed, &shift["state"], &shift["cause"]["kind"]),
        (0, &json!("rolled_back"), &json!("alarm"))
    );
    let traffic = &shift["fleets"]["green"]["traffic"];
    assert_eq!(traffic["failed"], green.served(), "{shift:#}");
    assert_eq!(
        (&traffic["rescued"], &traffic["rescue_failed"]),
        (&traffic["failed"], &json!(0)),
        "{shift:#}"
    );
    assert!(shift["explanation"].as_str().unwrap().contains("all of them were rescued"), "{shift:#}");
    let dealt_to_blue = shift["fleets"]["blue"]["traffic"]["requests"].as_u64().unwrap();
    assert!(
        blue_served >= dealt_to_blue + green.served(),
        "blue executed what it was dealt and what it rescued"
    );
}

#[test]
fn rescued_failures_do_not_use_up_the_failures_that_clients_may_see() {
    let green = ModelServer::start("v2");
    green.fail();
    let (shift, failed, _) = shift_to(green.address, |plan| {
        plan["max_failures"] = json!(1);
        plan["guard"] = json!([{ "metric": "error_rate", "below": "50%" }]);
    });
    assert_eq!((failed, &shift["cause"]["kind"]), (0, &json!("alarm")), "{shift:#}");
}

#[test]
fn a_green_that_closes_every_connection_costs_no_client_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Well in its health checks, which ask for /health, and dead to everything else.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let length = std::io::Read::read(&mut stream, &mut head).unwrap_or(0);
            if head[..length].starts_with(b"GET /health") {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                drop(std::io::Write::write_all(&mut stream, answer));
            }
        }
    });
    let (shift, failed, _) = shift_to(address, |_| {});
    assert_eq!((failed, &shift["state"]), (0, &json!("rolled_back")), "{shift:#}");
    assert!(shift["fleets"]["green"]["traffic"]["failures"]["reset"].as_u64().unwrap() > 0, "{shift:#}");
}
