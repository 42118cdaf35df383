//! What telling of requests costs: CPU time of the worker's thread for each request, with nobody told, an access log, and traces.
//!
//! `cargo bench --bench telling [-- REQUESTS]`. The proxy runs in this process; one request is under way at a time, on one connection, with 600 bytes
//! in and 1 KiB out, and the rounds of the variants take turns, so that what else the machine does hits all alike. What is read is the thread's own
//! run time (`/proc/self/task/TID/schedstat`), which has no other thread's work in it.

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use snapback::{app, config};

/// Each variant is asked so often, in turns.
const ROUNDS: usize = 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Variant {
    name: &'static str,
    running: app::Running,
    client: TcpStream,
    worker: String,
    /// Nanoseconds for each request, a round each.
    spent: Vec<f64>,
}

fn main() -> Outcome<()> {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5_000);
    let model = model_server()?;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("access.jsonl");
    let collector = model_server()?;
    let traces = |sample: &str| format!("[traces]\nurl = \"http://{collector}/\"\nsample = {sample:?}\n");
    let mut variants = Vec::new();
    for (name, section) in [
        ("nobody is told", String::new()),
        ("access log, all", format!("[access_log]\nto = {log:?}\n")),
        ("access log, 1 %", format!("[access_log]\nto = {log:?}\nsample = \"1%\"\n")),
        ("traces, 1 %", traces("1%")),
        ("traces, all", traces("100%")),
    ] {
        variants.push(Variant::start(name, &section, model, folder.path(), variants.len())?);
    }
    for _ in 0..ROUNDS {
        for variant in &mut variants {
            variant.round(count)?;
        }
    }
    println!("{:<20}{:>16}{:>16}", "", "ns per request", "more than none");
    let mut least = None;
    for variant in variants {
        let spent = variant.median();
        let base = *least.get_or_insert(spent);
        println!("{:<20}{spent:>16.0}{:>16.0}", variant.name, spent - base);
        drop(variant.client);
        variant.running.stop();
    }
    Ok(())
}

impl Variant {
    fn start(
        name: &'static str,
        section: &str,
        model: SocketAddr,
        folder: &std::path::Path,
        number: usize,
    ) -> Outcome<Self> {
        let text = format!(
            "[data]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[state]\npath = {:?}\n{section}\
             [[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"{model}\"] }}\n",
            folder.join(format!("snapback-{number}.db"))
        );
        let before = workers()?;
        let running = app::start(config::parse(&text, "bench")?, None)?;
        let worker =
            workers()?.into_iter().find(|path| !before.contains(path)).ok_or("the worker has no thread")?;
        let client = TcpStream::connect(running.data_addresses()[0])?;
        client.set_nodelay(true)?;
        let mut variant = Self { name, running, client, worker, spent: Vec::new() };
        variant.round(500)?;
        variant.spent.clear();
        Ok(variant)
    }

    fn round(&mut self, count: u32) -> Outcome<()> {
        let body = "a".repeat(600);
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: models\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let before = self.run_time()?;
        for _ in 0..count {
            self.client.write_all(request.as_bytes())?;
            read_until(&mut self.client, &[b'x'; 1024])?;
        }
        let spent = self.run_time()?.saturating_sub(before);
        self.spent.push(f64::from(u32::try_from(spent / u64::from(count))?));
        Ok(())
    }

    /// Nanoseconds that the worker has run.
    fn run_time(&self) -> Outcome<u64> {
        let text = fs::read_to_string(format!("{}/schedstat", self.worker))?;
        Ok(text.split(' ').next().ok_or("no run time")?.parse()?)
    }

    fn median(&self) -> f64 {
        let mut spent = self.spent.clone();
        spent.sort_by(f64::total_cmp);
        spent[spent.len() / 2]
    }
}

/// The threads of workers in this process.
fn workers() -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let path = entry?.path().display().to_string();
        if fs::read_to_string(format!("{path}/comm"))?.starts_with("worker-") {
            found.push(path);
        }
    }
    Ok(found)
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Outcome<()> {
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !buffer[..length].ends_with(end) {
        let read = stream.read(&mut buffer[length..])?;
        if read == 0 {
            return Err("the proxy closed the connection".into());
        }
        length += read;
    }
    Ok(())
}

/// Answers every request with a kilobyte.
fn model_server() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n{}", "x".repeat(1024));
    let mut input = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            input.extend_from_slice(&chunk[..read]);
        };
        let text = String::from_utf8_lossy(&input[..head]).to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap_or(0));
        while input.len() < head + length {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            input.extend_from_slice(&chunk[..read]);
        }
        input.drain(..head + length);
        stream.write_all(answer.as_bytes()).ok()?;
    }
}
