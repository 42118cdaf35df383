//! The workbench: a `snapback serve` process, model servers for it, and a plain client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// No wait in these tests is longer than this; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A model server that answers every request with its name; it can be told to fail, to be slow or to hang, and counts what it served.
pub(crate) struct ModelServer {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<AtomicU64>,
    pub(crate) failing: Arc<AtomicBool>,
    hanging: Arc<AtomicBool>,
    slow: Arc<AtomicBool>,
    sick: Arc<AtomicBool>,
}

/// A `snapback serve` process.
pub(crate) struct Snapback {
    child: Child,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    stderr: mpsc::Receiver<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl ModelServer {
    pub(crate) fn start(name: &'static str) -> Self {
        Self::start_at(name, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn start_at(name: &'static str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (served, failing) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let hanging = Arc::new(AtomicBool::new(false));
        let slow = Arc::new(AtomicBool::new(false));
        let sick = Arc::new(AtomicBool::new(false));
        let (count, broken, hung, tired) = (served.clone(), failing.clone(), hanging.clone(), slow.clone());
        let ill = sick.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (count, broken, hung) = (count.clone(), broken.clone(), hung.clone());
                let (tired, ill) = (tired.clone(), ill.clone());
                thread::spawn(move || serve_connection(stream, name, &count, &broken, &hung, &tired, &ill));
            }
        });
        Self { address, served, failing, hanging, slow, sick }
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.load(SeqCst)
    }

    pub(crate) fn fail(&self) {
        self.failing.store(true, SeqCst);
    }

    /// From now on each answer takes a hundred milliseconds.
    pub(crate) fn slow_down(&self) {
        self.slow.store(true, SeqCst);
    }

    /// From now on its health checks fail.
    pub(crate) fn sicken(&self) {
        self.sick.store(true, SeqCst);
    }

    /// They pass again.
    pub(crate) fn recover(&self) {
        self.sick.store(false, SeqCst);
    }

    /// From now on it takes requests and never answers.
    pub(crate) fn hang(&self) {
        self.hanging.store(true, SeqCst);
    }
}

/// Answers requests until the client closes. `/health` is well unless it is told otherwise, and never counted; `/slow` drips one byte of its body
/// each 50 ms, twenty times.
fn serve_connection(
    stream: TcpStream,
    name: &str,
    served: &AtomicU64,
    failing: &AtomicBool,
    hanging: &AtomicBool,
    slow: &AtomicBool,
    sick: &AtomicBool,
) {
    // An answer is written in parts, and waiting for their acknowledgement would make it forty times slower.
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((path, length)) = read_head(&mut reader) {
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let sent = match path.as_str() {
            "/health" if sick.load(SeqCst) => {
                writer.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
            }
            "/health" => writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            "/slow" => drip(&mut writer),
            _ if hanging.load(SeqCst) => {
                served.fetch_add(1, SeqCst);
                continue;
            }
            _ => {
                served.fetch_add(1, SeqCst);
                if slow.load(SeqCst) {
                    let (_hold, never) = mpsc::channel::<()>();
                    assert!(never.recv_timeout(Duration::from_millis(100)).is_err());
                }
                let status = if failing.load(SeqCst) { "500 Internal Server Error" } else { "200 OK" };
                write!(writer, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{name}", name.len())
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn drip(writer: &mut TcpStream) -> std::io::Result<()> {
    writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n")?;
    let (_hold, never) = mpsc::channel::<()>();
    for _ in 0..20 {
        let nothing = never.recv_timeout(Duration::from_millis(50));
        assert!(nothing.is_err());
        writer.write_all(b".")?;
    }
    Ok(())
}

pub(crate) fn read_head(reader: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return path.map(|path| (path, length));
        }
        if path.is_none() {
            path = Some(line.split(' ').nth(1)?.to_owned());
        } else if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
}

/// Writes a config with free ports, one endpoint `chat` for everything, and this blue instance.
pub(crate) fn write_config(folder: &Path, blue: SocketAddr) -> PathBuf {
    let path = folder.join("snapback.toml");
    let text = format!(
        r#"
[data]
listen = ["127.0.0.1:0"]
workers = 2
drain_timeout = "10s"
[admin]
listen = "127.0.0.1:0"
[state]
path = "{}"

[[endpoint]]
name = "chat"
blue = {{ version = "v1", instances = ["{blue}"] }}
health = {{ path = "/health", interval = "100ms" }}
"#,
        folder.join("snapback.db").display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Runs a command of the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_snapback"))
        .args(arguments)
        .env_remove("SNAPBACK_ADMIN")
        .env_remove("SNAPBACK_TOKEN")
        .output()
        .unwrap()
}

impl Snapback {
    /// Starts `snapback serve` and waits until it says where it listens.
    pub(crate) fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
        command.args(["serve", "-c"]).arg(config);
        Self::start_by(command)
    }

    /// The same by a command of the test's own.
    pub(crate) fn start_by(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address_of = |what: &str| loop {
            let Some(Ok(line)) = stdout.next() else {
                panic!("snapback ended: {:?}", receiver.iter().collect::<Vec<_>>());
            };
            if let Some((_, address)) = line.strip_prefix(what).and_then(|line| line.split_once("://")) {
                return address.trim().parse().unwrap();
            }
        };
        let data = address_of("data: ");
        let admin = address_of("admin: ");
        Self { child, data, admin, stderr: receiver }
    }

    /// A process that was started in another way and has said where it listens.
    pub(crate) fn of(child: Child, data: SocketAddr, admin: SocketAddr, log: mpsc::Receiver<String>) -> Self {
        Self { child, data, admin, stderr: log }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill_nine(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the process's end: its exit code and what it logged since the last question.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.stderr.iter().collect());
            }
            thread::yield_now();
        }
        panic!("snapback did not end");
    }

    /// Waits until the process logs a line that holds this.
    pub(crate) fn wait_for_log(&self, needle: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(needle) {
                return line;
            }
        }
        panic!("no log line holds {needle:?}");
    }

    /// A request to the proxy port.
    pub(crate) fn ask(&self) -> Answer {
        request(self.data, "POST", "/v1/completions", "{}")
    }

    /// A question to the admin port, answered in JSON.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = request(self.admin, method, path, body);
        let value = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|_| panic!("{method} {path}: {:?}", String::from_utf8_lossy(&answer.body)));
        (answer.status, value)
    }

    /// Starts a shift and gives its id.
    pub(crate) fn start_shift(&self, plan: &Value) -> String {
        let (status, shift) = self.admin("POST", "/v1/endpoints/chat/shifts", &plan.to_string());
        assert_eq!(status, 201, "{shift}");
        shift["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn shift(&self, id: &str) -> Value {
        let (status, shift) = self.admin("GET", &format!("/v1/shifts/{id}"), "");
        assert_eq!(status, 200, "{shift}");
        shift
    }

    /// Sends traffic until the shift's representation is as wanted.
    pub(crate) fn drive_until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.drive_until_by(id, || drop(self.ask()), wanted)
    }

    /// The same with requests of the test's own.
    pub(crate) fn drive_until_by(&self, id: &str, ask: impl Fn(), wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut shift = Value::Null;
        while Instant::now() < deadline {
            for _ in 0..10 {
                ask();
            }
            shift = self.shift(id);
            if wanted(&shift) {
                return shift;
            }
        }
        panic!("the shift never came to what was waited for: {shift:#}");
    }

    /// Looks at the shift, without traffic, until it is as wanted.
    pub(crate) fn wait_until(&self, id: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shift = self.shift(id);
            if wanted(&shift) {
                return shift;
            }
            assert!(Instant::now() < deadline, "the shift never came to what was waited for: {shift:#}");
        }
    }

    /// Sends a request and does not wait for its answer.
    pub(crate) fn ask_and_hold(&self) -> TcpStream {
        send(self.data, "POST", "/v1/completions", "{}")
    }
}

impl Drop for Snapback {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One request on a connection of its own.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    read_answer(send(address, method, path, body))
}

pub(crate) fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

/// Everything until the end of the connection, as one answer.
pub(crate) fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let split = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {bytes:?}"));
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: bytes[split + 4..].to_vec() }
}

/// A plan for this green instance: steps of 50 % and 100 % with these bakes, and a guard on errors.
pub(crate) fn plan(green: SocketAddr, bake: &str) -> Value {
    serde_json::json!({
        "green": { "version": "v2", "instances": [green.to_string()] },
        "strategy": { "type": "canary", "share": "50%", "bake": bake, "final_bake": bake },
        "guard": [{ "metric": "error_rate", "below": "1%" }],
    })
}
