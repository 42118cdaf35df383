//! kill -9 at each boundary between two effects: before and after each commit, before each effect of the engine, around each call to a
//! provider and each process that is started or told to end.
//!
//! One run that nobody disturbs writes down all the points that it comes to ([`snapback::fault`]). Then each of them gets a run of its own,
//! in which the process dies there, starts again, in some dies once more at a later point, and then may end the shift.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use snapback::{
    name::ShiftId,
    store::{Event, Journal, ShiftRecord, SqliteJournal},
    weight::Share,
};

use crate::{bench::PATIENCE, providing::Place};

/// A model server that is there in a hundredth of a second: without the module for sites, and with bare sockets. The
/// version `bad` fails what it is asked.
const MODEL: &str = "
import _thread, socket, sys
port, version = int(sys.argv[1]), sys.argv[2]
def serve(connection):
    pending = b''
    while True:
        while b'\\r\\n\\r\\n' not in pending:
            more = connection.recv(65536)
            if not more:
                return
            pending += more
        head, pending = pending.split(b'\\r\\n\\r\\n', 1)
        length = [int(line.split(b':')[1]) for line in head.lower().split(b'\\r\\n') if line.startswith(b'content-length')]
        while length and len(pending) < length[0]:
            pending += connection.recv(65536)
        pending = pending[sum(length):]
        fails = version == 'bad' and head.startswith(b'POST')
        status = b'500 Internal Server Error' if fails else b'200 OK'
        connection.sendall(b'HTTP/1.1 ' + status + b'\\r\\ncontent-length: %d\\r\\n\\r\\n' % len(version) + version.encode())
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('127.0.0.1', port))
listener.listen(64)
while True:
    _thread.start_new_thread(serve, (listener.accept()[0],))
";

/// Runs at a time: a run waits more than it computes.
const AT_A_TIME: usize = 4;

/// So many requests, and then a look at the shift.
const TURN: usize = 5;
/// Between turns: a client that asks without a pause would take the machine from the processes that are to start.
const PACE: Duration = Duration::from_millis(4);
/// So many turns for each count of the instances, which looks at all processes of the machine.
const LOOK_EVERY: usize = 10;
/// In so many stories one dies a second time, in or after its recovery.
const SECOND_DEATH_EVERY: usize = 3;
/// The last points lie behind what anybody else sees.
const LAST_POINTS_WITHIN: Duration = Duration::from_secs(2);

/// What is done again and again.
struct Scenario {
    count: usize,
    plan: Value,
    /// How the shift ends, however often the process dies meanwhile.
    end: &'static str,
    serves_at_the_end: &'static str,
    most_instances: usize,
    /// What an operator asks for when the shift looks like this: which command, and with what.
    operator: fn(&Value) -> Option<(&'static str, Value)>,
}

/// One story: a folder, and what was seen so far.
struct Run<'a> {
    scenario: &'a Scenario,
    /// Where the process dies first, for whoever reads of a failure.
    point: &'a str,
    place: Place,
    id: Option<String>,
    /// What was durable when the process died the last time.
    durable: Vec<Event>,
    answers: BTreeMap<String, usize>,
    turns: usize,
}

/// A `snapback serve` that may die at any time.
struct Life {
    child: Child,
    data: SocketAddr,
    admin: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dies {
    AtANamedPoint,
    Perhaps,
}

#[derive(PartialEq, Eq, Debug)]
enum Ended {
    ByTheFault,
    WithTheShift,
}

fn provider(version: &str, count: Option<usize>) -> Value {
    let mut provider = json!({
        "type": "process", "stop_grace": "5s",
        "command": ["python3", "-I", "-S", "-c", MODEL, "{port}", version],
    });
    if let Some(count) = count {
        provider["count"] = count.into();
    }
    provider
}

fn nobody(_: &Value) -> Option<(&'static str, Value)> {
    None
}

fn plan(version: &str, strategy: &Value, no_data: &str) -> Value {
    json!({
        "green": { "version": version, "provider": provider(version, None) },
        "strategy": strategy,
        "guard": [{ "metric": "error_rate", "below": "5%" }],
        "no_data": no_data,
    })
}

impl Life {
    /// `None` where the process died before it served.
    fn start(folder: &Path, variables: &[(&str, String)]) -> Option<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
        command.args(["serve", "-c"]).arg(folder.join("snapback.toml")).envs(variables.iter().cloned());
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut address = |what: &str| {
            let line = lines.find(|line| line.starts_with(what))?;
            line.split_once("://")?.1.trim().parse().ok()
        };
        if let Some((data, admin)) = address("data: ").zip(address("admin: ")) {
            return Some(Self { child, data, admin });
        }
        assert_killed(&mut child);
        None
    }

    fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for the end of a process that nothing else ends than its own SIGKILL.
fn assert_killed(child: &mut Child) {
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// An answer's status and body; `None` where whoever was asked died of it.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn ask_admin(life: &Life, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    let (status, body) = ask(life.admin, method, path, body)?;
    Some((status, serde_json::from_str(&body).ok()?))
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, point: &'a str) -> Self {
        let place = Place::of(|_| provider("v1", Some(scenario.count)));
        Self { scenario, point, place, id: None, durable: Vec::new(), answers: BTreeMap::new(), turns: 0 }
    }

    /// Starts the process and goes on with the shift until either ends.
    fn live(&mut self, dies: Dies, variables: &[(&str, String)]) -> Ended {
        let Some(mut life) = Life::start(self.place.path(), variables) else {
            return Ended::ByTheFault;
        };
        self.check_first_look(&life);
        let deadline = Instant::now() + PATIENCE;
        let over = loop {
            assert!(Instant::now() < deadline, "the shift does not end: {:?}", self.id);
            match self.turn(&life) {
                Some(true) => break true,
                Some(false) => {}
                // Whoever does not answer is dying.
                None => break false,
            }
        };
        if over {
            self.check_end(&mut life);
            let deadline = Instant::now() + LAST_POINTS_WITHIN;
            while dies == Dies::AtANamedPoint && Instant::now() < deadline && !life.is_dead() {
                thread::park_timeout(PACE);
            }
        }
        let ended = if life.is_dead() || !over { Ended::ByTheFault } else { Ended::WithTheShift };
        if ended == Ended::ByTheFault {
            assert_killed(&mut life.child);
        }
        drop(life);
        self.check_journal();
        ended
    }

    /// Some traffic, and a look at the shift, which is started if it is not there. Whether it is over; `None` when nobody answers.
    fn turn(&mut self, life: &Life) -> Option<bool> {
        for _ in 0..TURN {
            let (status, body) = ask(life.data, "POST", "/v1/completions", "{}")?;
            // Once blue has come up, whoever sends requests hears nothing of deaths between them, nor of a green that fails.
            assert!(status == 200 || self.id.is_none(), "{status} {body}");
            *self.answers.entry(body).or_default() += 1;
        }
        self.turns += 1;
        if self.turns.is_multiple_of(LOOK_EVERY) {
            let instances = self.place.instances();
            assert!(instances <= self.scenario.most_instances, "{instances} instances");
        }
        thread::park_timeout(PACE);
        let Some(id) = &self.id else {
            self.begin(life)?;
            return Some(false);
        };
        let (status, shift) = ask_admin(life, "GET", &format!("/v1/shifts/{id}"), "")?;
        assert_eq!(status, 200, "{shift}");
        if let Some((command, body)) = (self.scenario.operator)(&shift) {
            // It may be too late for it, or be granted already.
            ask_admin(life, "POST", &format!("/v1/shifts/{id}/{command}"), &body.to_string())?;
        }
        Some(shift["over"] == true)
    }

    /// Starts the shift once blue is healthy, unless it was durable when the process died of it.
    fn begin(&mut self, life: &Life) -> Option<()> {
        let (_, shifts) = ask_admin(life, "GET", "/v1/endpoints/chat/shifts", "")?;
        let first = shifts["shifts"].as_array().unwrap().first().map(|shift| shift["id"].clone());
        if let Some(id) = first {
            self.id = id.as_str().map(str::to_owned);
            return Some(());
        }
        let (_, endpoint) = ask_admin(life, "GET", "/v1/endpoints/chat", "")?;
        let instances = endpoint["blue"]["instances"].as_array().unwrap();
        let healthy = instances.iter().filter(|instance| instance["health"] == "healthy").count();
        if healthy < self.scenario.count {
            return Some(());
        }
        let plan = self.scenario.plan.to_string();
        let (status, shift) = ask_admin(life, "POST", "/v1/endpoints/chat/shifts", &plan)?;
        assert_eq!(status, 201, "{shift}");
        self.id = shift["id"].as_str().map(str::to_owned);
        Some(())
    }

    /// What a start serves before anybody asks for anything: what was durable, and no more of green.
    fn check_first_look(&self, life: &Life) {
        let Some(id) = &self.id else { return };
        let Some((status, shift)) = ask_admin(life, "GET", &format!("/v1/shifts/{id}"), "") else { return };
        assert_eq!(status, 200, "a shift that was started is known: {shift}");
        let share = |value: &Value| Share::parse(value.as_str().unwrap()).unwrap();
        let decided = shift["transitions"].as_array().unwrap();
        let most = decided.last().map_or(Share::NONE, |last| share(&last["share"]));
        assert!(share(&shift["share"]) <= most, "green has more than was decided: {shift:#}");
        let is_told = |event: &Event| {
            event.before.is_none()
                || decided.iter().any(|decision| decision["after"].as_str() == event.after.as_deref())
        };
        let states = self.durable.iter().filter(|event| event.kind == "shift.state");
        for event in states {
            assert!(is_told(event), "{event:?} is forgotten: {shift:#}");
        }
    }

    /// The shift has come to the end that it had to come to, and nothing is left but what serves.
    fn check_end(&self, life: &mut Life) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(body) = self.settled(life) {
                assert_eq!(body, self.scenario.serves_at_the_end);
                return;
            }
            if life.is_dead() {
                return;
            }
            thread::park_timeout(PACE);
        }
        panic!("processes are left, or too few: {:?}", self.place.processes());
    }

    /// Who serves, once all that should be there is healthy and all else is gone.
    fn settled(&self, life: &Life) -> Option<String> {
        let (status, body) = ask(life.data, "POST", "/v1/completions", "{}")?;
        assert_eq!(status, 200, "{body}");
        let (_, endpoint) = ask_admin(life, "GET", "/v1/endpoints/chat", "")?;
        let instances = endpoint["blue"]["instances"].as_array().unwrap();
        let healthy = instances.iter().filter(|instance| instance["health"] == "healthy").count();
        let is_alone = || self.place.processes().len() == self.scenario.count;
        (healthy == self.scenario.count && is_alone()).then_some(body)
    }

    /// What was durable still is, and tells of a shift that never gave green more but by a step.
    fn check_journal(&mut self) {
        let (events, shift) = read_journal(&self.place, self.id.as_deref());
        assert!(events.starts_with(&self.durable), "a decision that was durable is lost");
        let (mut share, mut went_back, mut gave) = (Share::NONE, false, false);
        for event in events.iter().filter(|event| event.shift.is_some()) {
            let now = event.share.unwrap_or(share);
            let is_step = event.kind == "shift.state" && event.after.as_deref() == Some("baking");
            assert!(now <= share || is_step, "green's share rises by {event:?}");
            assert!(now <= share || !went_back, "green's share rises after the way back: {event:?}");
            let is_back = |after: &str| {
                ["releasing_batch", "restoring", "rolling_back", "rolled_back"].contains(&after)
            };
            went_back |= event.after.as_deref().is_some_and(is_back);
            gave |= now > Share::NONE;
            share = now;
        }
        let green = self.scenario.plan["green"]["version"].as_str().unwrap();
        assert!(gave || !self.answers.contains_key(green), "green answered before it had a share");
        if let Some(shift) = shift.filter(|shift| shift.snapshot.state.is_terminal()) {
            assert_eq!(shift.snapshot.state.as_str(), self.scenario.end);
        }
        self.durable = events;
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
            eprintln!("dying at {:?}, the processes said:\n{log}", self.point);
        }
    }
}

/// What is durable, read from a copy, so that the next start finds the files as the crash left them.
fn read_journal(place: &Place, id: Option<&str>) -> (Vec<Event>, Option<ShiftRecord>) {
    let copy = tempfile::tempdir().unwrap();
    for file in ["snapback.db", "snapback.db-wal"] {
        drop(fs::copy(place.path().join(file), copy.path().join(file)));
    }
    let journal = SqliteJournal::open(&copy.path().join("snapback.db")).unwrap();
    let events = journal.events_after(0, 10_000).unwrap();
    let shift = id.and_then(|id| journal.shift(&ShiftId::parse(id).unwrap()).unwrap());
    (events, shift)
}

/// The points of a run that nobody disturbs, each with its number among those of its name.
fn points(scenario: &Scenario) -> Vec<String> {
    let mut run = Run::new(scenario, "nowhere");
    let trace = run.place.path().join("trace");
    let variables = [("SNAPBACK_FAULT_TRACE", trace.display().to_string())];
    assert_eq!(run.live(Dies::Perhaps, &variables), Ended::WithTheShift);
    let mut seen = BTreeMap::new();
    let text = fs::read_to_string(trace).unwrap();
    let numbered = text.lines().map(|name| {
        let number = seen.entry(name.to_owned()).or_insert(0_u32);
        *number += 1;
        (*number, name.to_owned())
    });
    let lines: Vec<_> = numbered.collect();
    // Checks and news come in any order and number: one death of each kind says what all would. Between a commit and the first effect
    // that it allows there is nothing.
    let varies = |name: &str| name.contains("instance.") || name.ends_with("records");
    let is_its_own = |place: usize| {
        let [before, at] = [place.wrapping_sub(1), place].map(|place| lines.get(place));
        let after_commit = before.is_some_and(|(_, name)| name.starts_with("after commit"));
        at.is_some_and(|(number, name)| {
            (*number == 1 || !varies(name)) && (!after_commit || name.contains("commit"))
        })
    };
    let places = (0..lines.len()).filter(|place| is_its_own(*place));
    places.map(|place| format!("{} {}", lines[place].0, lines[place].1)).collect()
}

/// Kills the process at this point, in some stories then at a later one, and lets the shift end. Whether the point was come to.
fn die_at(scenario: &Scenario, place: usize, point: &str) -> bool {
    let mut run = Run::new(scenario, point);
    let first = run.live(Dies::AtANamedPoint, &[("SNAPBACK_FAULT_DIE_AT", point.to_owned())]);
    if first == Ended::WithTheShift {
        return false;
    }
    if place.is_multiple_of(SECOND_DEATH_EVERY) {
        run.live(Dies::Perhaps, &[("SNAPBACK_FAULT_DIE_AT", (1 + place % 20).to_string())]);
    }
    let last = run.live(Dies::Perhaps, &[]);
    assert_eq!(last, Ended::WithTheShift);
    let state = read_journal(&run.place, run.id.as_deref()).1.unwrap().snapshot.state;
    assert_eq!(state.as_str(), scenario.end);
    true
}

/// Kills the process at each boundary there is.
fn die_everywhere(scenario: &Scenario, at_least: usize) {
    let points = points(scenario);
    assert!(points.len() >= at_least, "{points:#?}");
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, SeqCst);
                    let Some(point) = points.get(place) else { return };
                    if !die_at(scenario, place, point) {
                        missed.lock().unwrap().push(point);
                    }
                }
            });
        }
    });
    // What a busy machine does in another order need not come to the same points, but to nearly all.
    let missed = missed.into_inner().unwrap();
    assert!(missed.len() * 10 <= points.len(), "not come to: {missed:#?}");
}

#[test]
fn a_canary_over_processes_bears_kill_nine_at_every_boundary() {
    let strategy = json!({ "type": "canary", "share": "50%", "bake": "60ms", "final_bake": "60ms" });
    let promoted = Scenario {
        count: 1,
        plan: plan("v2", &strategy, "pass"),
        end: "promoted",
        serves_at_the_end: "v2",
        most_instances: 2,
        operator: nobody,
    };
    die_everywhere(&promoted, 25);
}

#[test]
fn a_rolling_shift_over_processes_bears_kill_nine_at_every_boundary() {
    let strategy = json!({ "type": "rolling", "batch": 1, "bake": "40ms" });
    let promoted = Scenario {
        count: 2,
        plan: plan("v2", &strategy, "pass"),
        end: "promoted",
        serves_at_the_end: "v2",
        most_instances: 3,
        operator: nobody,
    };
    die_everywhere(&promoted, 40);
}

#[test]
fn a_rollback_over_processes_bears_kill_nine_at_every_boundary() {
    let strategy = json!({ "type": "canary", "share": "50%", "bake": "20m", "final_bake": "20m" });
    let rolled_back = Scenario {
        count: 1,
        plan: plan("bad", &strategy, "hold"),
        end: "rolled_back",
        serves_at_the_end: "v1",
        most_instances: 2,
        operator: nobody,
    };
    die_everywhere(&rolled_back, 20);
}

#[test]
fn a_rolling_rollback_in_batches_bears_kill_nine_at_every_boundary() {
    let strategy = json!({ "type": "rolling", "batch": 1, "bake": "20m", "rollback_batch": 1 });
    let rolled_back = Scenario {
        count: 2,
        plan: plan("v2", &strategy, "pass"),
        end: "rolled_back",
        serves_at_the_end: "v1",
        most_instances: 3,
        operator: |shift| match shift["share"].as_str() {
            Some("50%") => Some(("promote", json!({ "skip": "bake", "step": 1 }))),
            Some("100%") => Some(("abort", json!({ "reason": "half of blue is gone" }))),
            _ => None,
        },
    };
    die_everywhere(&rolled_back, 40);
}
