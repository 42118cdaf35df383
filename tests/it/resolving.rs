//! Fleets that are the addresses of a name, with a name server of the test's own.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::{
    bench::{ModelServer, Snapback, plan, write_config},
    providing::{endpoint, wait_for, wait_until_served_by},
};

/// What a name server says of every name.
#[derive(Clone, Debug)]
enum Says {
    /// These addresses of the fourth version, and none of the sixth, for no time at all.
    Addresses(Vec<Ipv4Addr>),
    /// There is no such name.
    NoSuchName,
    /// Nothing.
    Silence,
}

struct NameServer {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
}

impl NameServer {
    fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, says) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(says)));
        let told = Arc::clone(&says);
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question) {
                if let Some(answer) = answer(&question[..length], &told.lock().unwrap()) {
                    drop(socket.send_to(&answer, client));
                }
            }
        });
        Self { address, says }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

/// A message of RFC 1035: its header, the question as it came, and records that point to the question's name.
fn answer(question: &[u8], says: &Says) -> Option<Vec<u8>> {
    let name_ends = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let asked = question.get(12..name_ends + 4)?;
    let is_v4 = question.get(name_ends..name_ends + 2)? == [0, 1];
    let (code, addresses) = match says {
        Says::Addresses(addresses) if is_v4 => (0, addresses.as_slice()),
        Says::Addresses(_) => (0, [].as_slice()),
        Says::NoSuchName => (3, [].as_slice()),
        Says::Silence => return None,
    };
    let count = u8::try_from(addresses.len()).ok()?;
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend_from_slice(asked);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two servers on two addresses and one port.
fn pair(name: &'static str) -> (ModelServer, ModelServer) {
    let one = ModelServer::start(name);
    let two = ModelServer::start_at(name, SocketAddr::from((TWO, one.address.port())));
    (one, two)
}

fn provider(names: &NameServer, port: u16) -> Value {
    json!({
        "type": "dns", "name": "models.test", "port": port, "resolvers": [names.address.to_string()],
        "ttl_floor": "50ms", "timeout": "300ms",
    })
}

fn declare(snapback: &Snapback, provider: &Value) -> (u16, Value) {
    let declared = json!({
        "blue": { "version": "v2", "provider": provider },
        "health": { "path": "/health", "interval": "50ms" },
    });
    snapback.admin("PUT", "/v1/endpoints/chat", &declared.to_string())
}

fn addresses(snapback: &Snapback, fleet: &str) -> Vec<String> {
    let endpoint = endpoint(snapback);
    let instances = endpoint[fleet]["instances"].as_array().cloned().unwrap_or_default();
    let mut addresses: Vec<_> =
        instances.iter().map(|instance| instance["address"].as_str().unwrap().to_owned()).collect();
    addresses.sort();
    addresses
}

fn wait_for_addresses(snapback: &Snapback, wanted: &[Ipv4Addr], port: u16) {
    let wanted: Vec<_> = wanted.iter().map(|address| format!("{address}:{port}")).collect();
    wait_for(&format!("{wanted:?}"), || (addresses(snapback, "blue") == wanted).then_some(()));
}

#[test]
fn the_instances_are_those_of_the_answer_and_stay_the_last_known_while_there_is_none() {
    let (folder, first) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), first.address);
    let names = NameServer::start(Says::Addresses(vec![ONE]));
    let (one, two) = pair("v2");
    let port = one.address.port();
    let snapback = Snapback::start(&config);
    assert_eq!(declare(&snapback, &provider(&names, port)).0, 200);
    wait_until_served_by(&snapback, "v2");
    wait_for_addresses(&snapback, &[ONE], port);

    names.say(Says::Addresses(vec![TWO, ONE]));
    wait_for("requests at both", || {
        assert_eq!(snapback.ask().status, 200);
        (two.served() > 0).then_some(())
    });
    wait_for_addresses(&snapback, &[ONE, TWO], port);

    names.say(Says::Addresses(vec![TWO]));
    wait_for("the answer's end", || {
        assert_eq!(snapback.ask().status, 200);
        (addresses(&snapback, "blue").len() == 1).then_some(())
    });
    let before = one.served();
    for _ in 0..20 {
        assert_eq!(snapback.ask().body, b"v2");
    }
    assert_eq!(one.served(), before, "an address that has left gets nothing");

    for says in [Says::NoSuchName, Says::Silence] {
        names.say(says);
        let told = snapback.wait_for_log("fleet.unresolved");
        assert!(told.contains("models.test") && told.contains("known addresses stay"), "{told}");
        wait_for_addresses(&snapback, &[TWO], port);
        assert_eq!(snapback.ask().body, b"v2");
        names.say(Says::Addresses(vec![TWO]));
        snapback.wait_for_log("fleet.resolved");
    }
    let (status, problem) = snapback.admin("POST", "/v1/endpoints/chat/scale", r#"{"count": 3}"#);
    assert_eq!(status, 409);
    assert!(problem.to_string().contains("addresses of a name"), "{problem}");

    names.say(Says::Silence);
    snapback.kill_nine();
    let snapback = Snapback::start(&config);
    assert_eq!(snapback.ask().body, b"v2", "the journal knows the last answer");
}

#[test]
fn a_name_is_a_shifts_green_but_not_a_rolling_ones() {
    let (folder, first) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let names = NameServer::start(Says::Addresses(vec![ONE, TWO]));
    let (one, two) = pair("v2");
    let snapback = Snapback::start(&write_config(folder.path(), first.address));
    let mut plan = plan(one.address, "300ms");
    plan["green"] = json!({ "version": "v2", "provider": provider(&names, one.address.port()) });
    let mut rolling = plan.clone();
    rolling["strategy"] = json!({ "type": "rolling", "batch": 1, "bake": "1s" });
    let (status, problem) = snapback.admin("POST", "/v1/endpoints/chat/shifts", &rolling.to_string());
    assert_eq!(status, 422);
    assert!(problem.to_string().contains("those of a name"), "{problem}");
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    wait_for_addresses(&snapback, &[ONE, TWO], one.address.port());
    wait_for("requests at both", || {
        assert_eq!(snapback.ask().body, b"v2");
        (one.served() > 0 && two.served() > 0).then_some(())
    });
}
