//! Binaries replaced under load: listening sockets passed on from outside, as systemd does.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::bench::{ModelServer, PATIENCE, Snapback, plan, request, write_config};

/// A client that has been away for this long cannot be sure of its connection any more: half of the second for which one is kept.
const LET_GO_AFTER: Duration = Duration::from_millis(500);

/// The sockets that outlive the processes.
pub(crate) struct Sockets {
    data: TcpListener,
    admin: TcpListener,
}

/// A process that has inherited the sockets and may still be waiting for the journal.
pub(crate) struct Successor {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Sockets {
    pub(crate) fn open() -> Self {
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self { data: listener(), admin: listener() }
    }

    /// Descriptors 3 and 4 of the new process, which says where it listens, and logs, on standard output.
    pub(crate) fn pass_to(&self, config: &Path) -> Successor {
        let pass = |listener: &TcpListener| Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
        let script = "exec 3<&0 4<&2 </dev/null 2>&1; \
                      LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=data:admin exec \"$0\" serve -c \"$1\"";
        let mut child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_snapback")])
            .arg(config)
            .stdin(pass(&self.data))
            .stderr(pass(&self.admin))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Successor { child, lines }
    }

    fn data_address(&self) -> SocketAddr {
        self.data.local_addr().unwrap()
    }
}

impl Successor {
    /// Waits until it says this.
    pub(crate) fn wait_for(&self, needle: &str) {
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(needle) {
                return;
            }
            said.push(line);
        }
        panic!("{needle:?} is not in {said:?}");
    }

    pub(crate) fn announced(self, sockets: &Sockets) -> Snapback {
        self.wait_for("admin: http://");
        let Self { child, lines } = self;
        Snapback::of(child, sockets.data_address(), sockets.admin.local_addr().unwrap(), lines)
    }
}

/// Clients that send as fast as they are answered.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Half of the clients make a connection for each request, half keep theirs for as long as they are let.
    fn start(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |number: usize| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                let mut failures = Vec::new();
                let mut kept = None;
                while !stop.load(SeqCst) {
                    match ask(address, &mut kept, number.is_multiple_of(2)) {
                        Ok(()) => drop(answered.fetch_add(1, SeqCst)),
                        Err(failure) => failures.push(failure),
                    }
                }
                failures
            })
        };
        let clients = (0..4).map(client).collect();
        Self { stop, answered, clients }
    }

    /// Waits until so many more requests have been answered.
    fn go_on(&self, requests: u64) {
        let goal = self.answered.load(SeqCst) + requests;
        while self.answered.load(SeqCst) < goal {
            assert!(!self.clients.iter().all(JoinHandle::is_finished));
            thread::yield_now();
        }
    }

    fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, SeqCst);
        let failures = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (self.answered.load(SeqCst), failures)
    }
}

/// A connection that is kept, and since when.
type Kept = Option<(TcpStream, Instant)>;

/// One request and its answer, on the kept connection if there is one.
///
/// A process that ends keeps an idle connection for a second, so that a client which goes on at once never finds it closed. Where a busy
/// machine lets a client go on only after that, it does what every client does with a kept connection that says nothing any more: it asks
/// again on a fresh one.
fn ask(address: SocketAddr, kept: &mut Kept, keep: bool) -> Result<(), String> {
    let idle_since = kept.as_ref().map(|(_, since)| *since);
    let asked = exchange(address, kept, keep);
    let asked = match (asked, idle_since) {
        (Err(Failed::Unanswered(_)), Some(since)) if since.elapsed() > LET_GO_AFTER => {
            exchange(address, kept, keep)
        }
        (asked, _) => asked,
    };
    asked.map_err(|failed| {
        let (Failed::Unanswered(what) | Failed::Answered(what)) = failed;
        format!("{what} (keeps connections: {keep})")
    })
}

/// Why a request was not answered as it should, and whether a byte of an answer came.
enum Failed {
    Unanswered(String),
    Answered(String),
}

fn exchange(address: SocketAddr, kept: &mut Kept, keep: bool) -> Result<(), Failed> {
    let unanswered = |error: std::io::Error| Failed::Unanswered(error.to_string());
    let mut stream = match kept.take() {
        Some((stream, _)) => stream,
        None => TcpStream::connect(address).map_err(unanswered)?,
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(unanswered)?;
    let connection = if keep { "keep-alive" } else { "close" };
    let head =
        format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\ncontent-length: 2\r\n\r\n{{}}");
    stream.write_all(head.as_bytes()).map_err(unanswered)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nv1") {
        let mut chunk = [0; 1024];
        let broken = match stream.read(&mut chunk) {
            Ok(0) => "an end".to_owned(),
            Ok(length) => {
                answer.extend_from_slice(&chunk[..length]);
                continue;
            }
            Err(error) => error.to_string(),
        };
        let what = format!("{broken} after {:?}", String::from_utf8_lossy(&answer));
        return Err(if answer.is_empty() { Failed::Unanswered(what) } else { Failed::Answered(what) });
    }
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    if !answer.starts_with("http/1.1 200") {
        return Err(Failed::Answered(answer));
    }
    if keep && !answer.contains("connection: close") {
        *kept = Some((stream, Instant::now()));
    }
    Ok(())
}

#[test]
fn ten_restarts_with_inherited_sockets_fail_no_request() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let sockets = Sockets::open();
    let mut serving = sockets.pass_to(&config).announced(&sockets);
    let load = Load::start(sockets.data_address());
    load.go_on(200);
    for _ in 0..10 {
        let successor = sockets.pass_to(&config);
        successor.wait_for("waiting for the process before");
        serving.signal("-TERM");
        let next = successor.announced(&sockets);
        load.go_on(200);
        let (code, log) = std::mem::replace(&mut serving, next).end();
        assert_eq!(code, Some(0), "{log:?}");
        assert!(!log.iter().any(|line| line.contains("drain timeout")), "{log:?}");
    }
    let (answered, failures) = load.end();
    assert_eq!(failures, Vec::<String>::new(), "of {answered} requests");
    assert_eq!(blue.served(), answered);
}

#[test]
fn a_shift_goes_on_in_the_process_that_takes_over() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let sockets = Sockets::open();
    let before = sockets.pass_to(&config).announced(&sockets);
    let id = before.start_shift(&plan(green.address, "1s"));
    before.drive_until(&id, |shift| shift["state"] == "baking");
    let successor = sockets.pass_to(&config);
    successor.wait_for("waiting for the process before");
    before.signal("-TERM");
    let after = successor.announced(&sockets);
    let shift = after.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    assert_eq!(before.end().0, Some(0));
}

#[test]
fn what_connects_between_two_processes_waits_and_is_served() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let sockets = Sockets::open();
    let before = sockets.pass_to(&config).announced(&sockets);
    before.signal("-TERM");
    assert_eq!(before.end().0, Some(0));
    let address = sockets.data_address();
    let client = thread::spawn(move || request(address, "POST", "/", "{}"));
    let after = sockets.pass_to(&config).announced(&sockets);
    assert_eq!(client.join().unwrap().body, b"v1");
    assert_eq!(after.admin("GET", "/v1/endpoints/chat", "").0, 200);
}

#[test]
fn a_start_gives_up_when_the_process_before_does_not_let_the_journal_go() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[state]", "[state]\ntakeover_timeout = \"300ms\"")).unwrap();
    let sockets = Sockets::open();
    let serving = sockets.pass_to(&config).announced(&sockets);
    let mut successor = sockets.pass_to(&config);
    successor.wait_for("in use by another process");
    assert!(!successor.child.wait().unwrap().success());
    assert_eq!(serving.ask().body, b"v1");
}
