//! Events leave the process: webhooks and the file; and the trail of who did what holds against changes.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use serde_json::{Value, json};
use snapback::store::{Event, Hash, Journal, Record, SqliteJournal};

use crate::bench::{ModelServer, PATIENCE, Snapback, plan, run, write_config};

const SECRET: [u8; 32] = [7; 32];

/// What a webhook's receiver got.
#[derive(Debug)]
struct Letter {
    headers: BTreeMap<String, String>,
    raw: Vec<u8>,
    event: Value,
}

/// A server that takes events; it refuses those that it is told to.
struct Receiver {
    address: SocketAddr,
    letters: mpsc::Receiver<Letter>,
    /// Events of this endpoint are answered with 500; `*` stands for all.
    refused: Arc<Mutex<Option<&'static str>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, letters) = mpsc::channel();
        let refused = Arc::new(Mutex::new(None));
        let refusing = refused.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, refusing) = (sender.clone(), refusing.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let Some(letter) = read_letter(&mut reader) else { return };
                    let refused = *refusing.lock().unwrap();
                    let is_refused =
                        refused.is_some_and(|name| name == "*" || letter.event["endpoint"] == name);
                    let status = if is_refused { "500 No" } else { "204 Taken" };
                    // Told first: whoever reads the answer may look at once.
                    drop(sender.send(letter));
                    let mut stream = stream;
                    drop(write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
                });
            }
        });
        Self { address, letters, refused }
    }

    fn refuse(&self, whose: Option<&'static str>) {
        *self.refused.lock().unwrap() = whose;
    }

    fn next(&self) -> Letter {
        self.letters.recv_timeout(PATIENCE).unwrap()
    }

    /// Letters up to the first that is wanted.
    fn until(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Letter> {
        let mut letters = vec![self.next()];
        while !letters.last().is_some_and(|letter| wanted(&letter.event)) {
            letters.push(self.next());
        }
        letters
    }
}

fn read_letter(reader: &mut impl BufRead) -> Option<Letter> {
    let (mut headers, mut line) = (BTreeMap::new(), String::new());
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut raw = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut raw).ok()?;
    let event = serde_json::from_slice(&raw).ok()?;
    Some(Letter { headers, raw, event })
}

impl Letter {
    fn id(&self) -> u64 {
        self.event["id"].as_u64().unwrap()
    }

    #[track_caller]
    fn check_signature(&self) {
        let header = |name: &str| self.headers[name].as_str();
        let mut content = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
        content.extend(&self.raw);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), &content);
        assert_eq!(header("webhook-signature"), format!("v1,{}", BASE64_STANDARD.encode(tag)));
        assert_eq!(header("content-type"), "application/json");
    }
}

/// Adds sections to a configuration.
fn append(config: &Path, text: &str) {
    let before = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, format!("{before}\n{text}")).unwrap();
}

/// Adds a webhook to a configuration.
fn hook(config: &Path, receiver: &Receiver, lines: &str) {
    let secret = config.with_file_name("hook.secret");
    std::fs::write(&secret, format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET))).unwrap();
    append(
        config,
        &format!(
            "[[webhook]]\nname = \"ops\"\nurl = \"http://{}/hook?a=b\"\nsecret_file = {secret:?}\n{lines}\n",
            receiver.address
        ),
    );
}

fn is(kind: &str, after: &str) -> impl Fn(&Value) -> bool {
    move |event| event["kind"] == kind && event["after"] == after
}

fn command(snapback: &Snapback, arguments: &[&str]) -> (bool, String) {
    let url = format!("http://{}", snapback.admin);
    let output = run(&[arguments, &["--admin", &url]].concat());
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

#[test]
fn a_webhook_hears_of_a_shift_in_order_and_signed_and_of_nothing_that_it_did_not_ask_for() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let receiver = Receiver::start();
    let config = write_config(folder.path(), blue.address);
    hook(&config, &receiver, "events = [\"shift.*\"]");
    let snapback = Snapback::start(&config);
    let id = snapback.start_shift(&plan(green.address, "200ms"));
    snapback.drive_until(&id, |shift| shift["state"] == "promoted");
    let letters = receiver.until(is("shift.state", "promoted"));
    for letter in &letters {
        letter.check_signature();
        assert_eq!((&letter.event["shift"], &letter.event["endpoint"]), (&json!(id), &json!("chat")));
        assert!(letter.event["kind"].as_str().unwrap().starts_with("shift."), "{}", letter.event);
    }
    let ids: Vec<_> = letters.iter().map(Letter::id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "each once and in order: {ids:?}");
    let started = &letters[0].event;
    assert_eq!((&started["kind"], &started["after"]), (&json!("shift.started"), &json!("preparing")));
    assert_eq!(started["peer"], "127.0.0.1");
    let baking = letters.iter().find(|letter| is("shift.state", "baking")(&letter.event)).unwrap();
    assert_eq!((&baking.event["before"], &baking.event["share"]), (&json!("preparing"), &json!("50%")));
    let promoted = &letters.last().unwrap().event;
    assert!(promoted["evidence"]["green"]["dealt"].as_u64().unwrap() > 0, "{promoted}");
}

#[test]
fn what_a_receiver_missed_it_gets_after_kill_nine_from_where_it_was_and_under_the_same_id() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let receiver = Receiver::start();
    let config = write_config(folder.path(), blue.address);
    hook(&config, &receiver, "");
    receiver.refuse(Some("*"));
    let snapback = Snapback::start(&config);
    let first = receiver.next();
    first.check_signature();
    snapback.kill_nine();
    receiver.refuse(None);
    let snapback = Snapback::start(&config);
    let again = receiver.until(|event| event["id"] == first.event["id"]);
    let again = again.last().unwrap();
    assert_eq!(again.headers["webhook-id"], first.headers["webhook-id"]);
    assert_eq!(again.raw, first.raw);
    again.check_signature();
    let (status, _) = snapback.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200);
    receiver.until(|event| event["kind"] == "config.reloaded");
}

#[test]
fn an_endpoint_whose_events_are_refused_holds_up_no_other() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let receiver = Receiver::start();
    let config = write_config(folder.path(), blue.address);
    hook(&config, &receiver, "events = [\"endpoint.*\"]");
    receiver.refuse(Some("chat"));
    let snapback = Snapback::start(&config);
    let declare = |name: &str, version: &str| {
        let blue = json!({ "version": version, "instances": [blue.address.to_string()] });
        let document = json!({ "match": { "path_prefix": format!("/{name}") }, "blue": blue });
        let (status, answer) = snapback.admin("PUT", &format!("/v1/endpoints/{name}"), &document.to_string());
        assert!(status < 300, "{answer}");
    };
    declare("chat", "v1b");
    receiver.until(|event| event["endpoint"] == "chat");
    declare("score", "s1");
    receiver.until(|event| event["endpoint"] == "score" && event["after"] == "s1");
    let (_, all) = snapback.admin("GET", "/v1/webhooks", "");
    let webhook = &all["webhooks"][0];
    assert_eq!((&webhook["state"], &webhook["dead_letters"]), (&json!("failing"), &json!([])), "{all}");
    assert_eq!(webhook["pending"][0]["endpoint"], "chat", "{all}");
    assert!(webhook["pending"][0]["problem"].as_str().unwrap().contains("500"), "{all}");
}

#[test]
fn an_event_that_is_given_up_is_shown_and_sent_again_when_somebody_asks() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let receiver = Receiver::start();
    let config = write_config(folder.path(), blue.address);
    hook(&config, &receiver, "events = [\"config.reloaded\"]\nattempts = 1");
    receiver.refuse(Some("*"));
    let snapback = Snapback::start(&config);
    for _ in 0..3 {
        assert_eq!(snapback.admin("POST", "/v1/reload", "").0, 200);
    }
    let given_up: Vec<_> = (0..3).map(|_| receiver.next().id()).collect();
    snapback.wait_for_log("given up");
    let letters = |wanted: usize| {
        for _ in 0..10_000 {
            let (_, all) = snapback.admin("GET", "/v1/webhooks", "");
            let dead = all["webhooks"][0]["dead_letters"].as_array().unwrap().clone();
            if dead.len() == wanted {
                return dead;
            }
        }
        panic!("there were never {wanted} dead letters");
    };
    let dead = letters(3);
    assert_eq!(dead.iter().map(|letter| letter["event"].as_u64().unwrap()).collect::<Vec<_>>(), given_up);
    assert_eq!((&dead[0]["attempts"], &dead[0]["reason"]), (&json!(1), &json!("status 500")));
    let (_, listed) = command(&snapback, &["webhook", "list"]);
    assert!(listed.contains("ops") && listed.contains("was given up at"), "{listed}");

    receiver.refuse(None);
    let (done, said) = command(&snapback, &["webhook", "retry", "ops", "--reason", "mended"]);
    assert!(done && said.contains("3 dead letters"), "{said}");
    let again: Vec<_> = (0..3).map(|_| receiver.next().id()).collect();
    assert_eq!(again, given_up);
    letters(0);
    let (done, said) = command(&snapback, &["webhook", "retry", "other"]);
    assert!(!done && said.contains("there are: ops"), "{said}");
    let (_, trail) = command(&snapback, &["audit", "list"]);
    assert!(trail.contains("webhook ops: 3 dead letters are tried again"), "{trail}");
}

/// Adds events of no endpoint to a journal that no process has, up to this one.
fn fill(journal: &Path, up_to: u64) {
    let journal = SqliteJournal::open(journal).unwrap();
    let mut last = journal.chain().unwrap().head;
    let template = journal.events_after(last.id - 1, 1).unwrap().remove(0);
    let mut filler = Vec::new();
    while last.id < up_to {
        let event = Event { id: last.id + 1, endpoint: None, hash: Hash::NONE, ..template.clone() };
        let event = Event { hash: event.hash_after(last.hash), ..event };
        last = event.head();
        filler.push(Record::Event(event));
    }
    journal.commit(&filler).unwrap();
}

#[test]
fn events_that_were_compacted_away_before_a_webhook_had_them_are_named_and_it_goes_on_behind_them() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let receiver = Receiver::start();
    let config = write_config(folder.path(), blue.address);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[state]", "[state]\nkeep_events = 1000")).unwrap();
    hook(&config, &receiver, "");
    receiver.refuse(Some("*"));
    let snapback = Snapback::start(&config);
    assert_eq!(snapback.admin("POST", "/v1/reload", "").0, 200);
    receiver.next();
    let missed = newest(&snapback);
    snapback.kill_nine();
    fill(&folder.path().join("snapback.db"), 1_999);

    let snapback = Snapback::start(&config);
    while newest(&snapback) < 2_000 {
        assert_eq!(snapback.admin("POST", "/v1/reload", "").0, 200);
    }
    let (_, all) = snapback.admin("GET", "/v1/webhooks", "");
    let letters = all["webhooks"][0]["dead_letters"].as_array().unwrap();
    let last = letters.last().unwrap();
    let reason = last["reason"].as_str().unwrap();
    assert!(reason.contains("events of no endpoint") && reason.contains("compacted away"), "{all}");
    assert!(missed < 1_000 && last["event"] == 1_000, "{all}");
    let named = letters.len();
    let (_, listed) = command(&snapback, &["webhook", "list"]);
    assert!(listed.contains("compacted away"), "{listed}");
    snapback.kill_nine();

    receiver.refuse(None);
    while receiver.letters.try_recv().is_ok() {}
    let snapback = Snapback::start(&config);
    let got: Vec<_> = (0..5).map(|_| receiver.next()).collect();
    let general = got.iter().filter(|letter| letter.event["endpoint"].is_null()).map(Letter::id);
    assert_eq!(general.take(3).collect::<Vec<_>>(), [1_001, 1_002, 1_003]);
    let (_, all) = snapback.admin("GET", "/v1/webhooks", "");
    assert_eq!(all["webhooks"][0]["dead_letters"].as_array().unwrap().len(), named, "they stay: {all}");
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until the file has this event.
fn written(snapback: &Snapback, event: u64) {
    for _ in 0..100_000 {
        let (_, all) = snapback.admin("GET", "/v1/webhooks", "");
        if all["file"]["written"].as_u64().unwrap() >= event {
            return;
        }
    }
    panic!("event {event} was never written");
}

fn newest(snapback: &Snapback) -> u64 {
    let (_, found) = snapback.admin("GET", "/v1/audit/verification", "");
    found["last"].as_u64().unwrap()
}

#[test]
fn the_file_has_every_event_over_pages_kill_nine_and_a_torn_line() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let file = folder.path().join("events.jsonl");
    append(&config, &format!("[events]\nfile = {file:?}\npage = \"64KiB\"\npages = 100\n"));
    let page = |number: u32| PathBuf::from(format!("{}.{number}", file.display()));
    let snapback = Snapback::start(&config);
    // A reason of a kilobyte each fills a page soon.
    let reason = "r".repeat(900);
    while !page(2).exists() {
        assert!(command(&snapback, &["reload", "--reason", &reason]).0);
    }
    snapback.kill_nine();
    let torn = std::fs::OpenOptions::new().append(true).open(&file);
    torn.unwrap().write_all(b"{\"id\":99,\"at\":\"20").unwrap();
    let snapback = Snapback::start(&config);
    assert_eq!(snapback.admin("POST", "/v1/reload", "").0, 200);
    written(&snapback, newest(&snapback));
    let last = newest(&snapback);
    let events: Vec<_> = [page(2), page(1), file.clone()].iter().flat_map(|page| lines(page)).collect();
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert!(ids.iter().zip(1..).all(|(id, expected)| *id == expected), "{ids:?}");
    assert!(ids.len() as u64 >= last, "{} of {last}", ids.len());

    let (whole, said) = command(&snapback, &["audit", "verify", "--file", page(1).to_str().unwrap()]);
    assert!(whole && said.contains("every line follows"), "{said}");
    let text = std::fs::read_to_string(page(1)).unwrap();
    std::fs::write(page(1), text.replacen("\"actor\":\"", "\"actor\":\"x", 5)).unwrap();
    let (whole, said) = command(&snapback, &["audit", "verify", "--file", page(1).to_str().unwrap()]);
    assert!(!whole && said.contains("the chain breaks at event"), "{said}");
}

#[test]
fn who_asked_for_what_and_who_was_refused_is_in_the_trail() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    assert_eq!(snapback.admin("POST", "/v1/shifts/none/promote", "{\"actor\":\"eve\"}").0, 404);
    let foreign = "GET /v1/endpoints HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    let mut stream = std::net::TcpStream::connect(snapback.admin).unwrap();
    stream.write_all(foreign.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(command(&snapback, &["reload", "--reason", "moved a host"]).0);
    let trail = (0..10_000).map(|_| command(&snapback, &["audit", "list", "--output", "json"]).1);
    let trail =
        trail.into_iter().find(|text| text.contains("access.refused") && text.contains("command.refused"));
    let acts: Vec<Value> = trail.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let act = |kind: &str| {
        acts.iter().find(|act| act["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {acts:#?}"))
    };
    let refused = act("command.refused");
    assert!(
        refused["cause"].as_str().unwrap().contains("POST /v1/shifts/none/promote was refused with 404"),
        "{refused}"
    );
    assert_eq!(refused["peer"], "127.0.0.1");
    assert!(act("access.refused")["cause"].as_str().unwrap().contains("evil.example"));
    assert_eq!(act("config.reloaded")["reason"], "moved a host");
}

#[test]
fn a_trail_that_was_changed_cut_or_rewritten_is_found_with_the_events_number() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let (file, journal) = (folder.path().join("events.jsonl"), folder.path().join("snapback.db"));
    append(&config, &format!("[events]\nfile = {file:?}\n"));
    let snapback = Snapback::start(&config);
    for _ in 0..5 {
        assert_eq!(snapback.admin("POST", "/v1/reload", "").0, 200);
    }
    written(&snapback, newest(&snapback));
    let (whole, said) = command(&snapback, &["audit", "verify"]);
    assert!(whole && said.contains("are whole, and agrees with the events' file"), "{said}");
    let end = |snapback: Snapback| {
        snapback.signal("-TERM");
        assert_eq!(snapback.end().0, Some(0));
    };
    let change = |sql: &str| rusqlite::Connection::open(&journal).unwrap().execute_batch(sql).unwrap();
    end(snapback);
    change("UPDATE events SET actor = 'bob' WHERE id = 3");
    let snapback = Snapback::start(&config);
    let (whole, said) = command(&snapback, &["audit", "verify"]);
    assert!(!whole && said.contains("breaks at event 3"), "{said}");
    end(snapback);

    // The end is cut off, with its traces in the journal: the file knows better, and the start says so.
    change("UPDATE events SET actor = (SELECT actor FROM events WHERE id = 2) WHERE id = 3");
    change(
        "DELETE FROM events WHERE id > 4; UPDATE chain SET head_id = 4, head_hash = (SELECT hash FROM events WHERE id = 4)",
    );
    let snapback = Snapback::start(&config);
    let told = snapback.wait_for_log("the journal's end was cut off");
    assert!(told.contains("event"), "{told}");
    let (_, trail) = command(&snapback, &["audit", "list"]);
    assert!(trail.contains("journal.cut"), "{trail}");
}

#[test]
fn a_backup_made_while_serving_serves_elsewhere() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    let id = snapback.start_shift(&plan(green.address, "100ms"));
    snapback.drive_until(&id, |shift| shift["state"] == "promoted");
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("snapback.db");
    let (done, said) = command(&snapback, &["journal", "backup", copy.to_str().unwrap()]);
    assert!(done && said.contains("bytes in"), "{said}");
    let (done, said) = command(&snapback, &["journal", "backup", copy.to_str().unwrap()]);
    assert!(!done && said.contains("there already"), "{said}");
    let restored = Snapback::start(&write_config(elsewhere.path(), blue.address));
    assert_eq!(restored.shift(&id)["state"], "promoted");
    for _ in 0..20 {
        assert_eq!(restored.ask().body, b"v2");
    }
    let (whole, said) = command(&restored, &["audit", "verify"]);
    assert!(whole, "{said}");
    assert_eq!(snapback.shift(&id)["state"], "promoted");
}
