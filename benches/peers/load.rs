//! The loads that wrk and h2load cannot make, for `run.sh`. Built as an example, so that it has a path of its own and the tests' dependencies.
//!
//!     load events ADDRESS...                     a model server whose answer is a token stream, 50 events a second, until it is ended
//!     load streams ADDRESS COUNT SECONDS         opens so many streams; prints "open", then how many events came in the seconds after,
//!                                                and the p50 and p99 of how long they were under way, in microseconds
//!     load idle ADDRESS COUNT                    one request on each of so many connections; prints "open" and keeps them
//!     load rate ADDRESS RATE CONNECTIONS SECONDS an open loop; prints the latencies' p50, p99 and p99.9 in microseconds, and errors
//!
//! `streams` and `idle` hold what they have opened until standard input ends. It must cost less than the proxies do: the model
//! server writes each event with one system call and waits for nothing, and the open loop's threads block in their sockets.

use std::{
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use snapback::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["events", ref addresses @ ..] if !addresses.is_empty() => serve_events(addresses),
        ["streams", address, count, seconds] => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(take_streams(address.parse()?, count.parse()?, seconds.parse()?))
        }
        ["idle", address, count] => idle(address.parse()?, count.parse()?),
        ["rate", address, rate, connections, seconds] => {
            open_loop(address.parse()?, rate.parse()?, connections.parse()?, seconds.parse()?)
        }
        _ => Err("see the text at the top of benches/peers/load.rs for its arguments".into()),
    }
}

// ---- token streams

/// A stream's pace: a fast model's.
const EVENT_EVERY: Duration = Duration::from_millis(20);

/// Streams take turns, so that the proxy gets its events evenly: each millisecond every twentieth stream has one.
const TURNS: u32 = 20;

/// For all streams to be opened.
const OPENING: Duration = Duration::from_secs(30);

/// As many as fit into the model servers' queues of connections to be accepted.
const OPENING_AT_ONCE: u64 = 50;

/// An event begins so, and then says when it was sent.
const BEGINNING: &str = "data: {\"created\":";

/// The digits of a moment in microseconds since 1970.
const DIGITS: usize = 16;

/// Microseconds since 1970, which two processes can compare.
#[expect(clippy::disallowed_methods, reason = "the crate's wall clock counts milliseconds")]
fn micros() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// An event that is sent now, as a chunk.
fn chunk() -> String {
    let sent = micros();
    let event = format!(
        "{BEGINNING}{sent:0DIGITS$},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" token\"}}}}]}}\n\n"
    );
    format!("{:x}\r\n{event}\r\n", event.len())
}

/// When the events in these bytes were sent. The beginning of one is never apart from the rest: a proxy passes on what it got.
fn sent(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let digits = |place: usize| bytes.get(place + BEGINNING.len()..)?.get(..DIGITS);
    let begins =
        bytes.windows(BEGINNING.len()).enumerate().filter(|(_, window)| *window == BEGINNING.as_bytes());
    begins.filter_map(move |(place, _)| str::from_utf8(digits(place)?).ok()?.parse().ok())
}

fn serve_events(addresses: &[&str]) -> Outcome<()> {
    let streams = Arc::new(Mutex::new(Vec::new()));
    for address in addresses {
        let listener = TcpListener::bind(address)?;
        let streams = Arc::clone(&streams);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                // A client that leaves before its head was read is no stream.
                if let Ok(stream) = begin_stream(stream) {
                    streams.lock().expect("no thread panics with the lock").push(stream);
                }
            }
        });
    }
    let mut due = clock::now();
    for turn in (0..TURNS).cycle() {
        due = due.after(EVENT_EVERY / TURNS);
        thread::sleep(due.since(clock::now()));
        let mut streams = streams.lock().expect("no thread panics with the lock");
        let (mut place, chunk) = (0, chunk());
        streams.retain_mut(|stream: &mut TcpStream| {
            place += 1;
            place % TURNS != turn || is_open(stream.write(chunk.as_bytes()), chunk.len())
        });
    }
    Ok(())
}

/// A stream whose proxy does not keep up is given up, since half an event cannot be taken back.
fn is_open(written: std::io::Result<usize>, length: usize) -> bool {
    written.is_ok_and(|written| written == length)
}

fn begin_stream(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut head, mut length) = ([0; 4096], 0);
    while !head[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut head[length..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n")?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

async fn take_streams(address: SocketAddr, count: usize, seconds: u64) -> Outcome<()> {
    let (open, delays, mut streams) = (Arc::<AtomicU64>::default(), Delays::default(), JoinSet::new());
    let all_open = async {
        for begun in 0..count as u64 {
            while begun >= open.load(Relaxed) + OPENING_AT_ONCE {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            streams.spawn(take_stream(address, Arc::clone(&open), Arc::clone(&delays)));
        }
        while open.load(Relaxed) < count as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(OPENING, all_open).await.map_err(|_| "not all streams could be opened")?;
    println!("open");
    taken(&delays).clear();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let mut delays = std::mem::take(&mut *taken(&delays));
    delays.sort_unstable();
    let at = |per_mille: usize| delays.get(delays.len() * per_mille / 1000).copied().unwrap_or_default();
    println!("{} {} {}", delays.len(), at(500), at(990));
    match streams.try_join_next() {
        None => tokio::task::spawn_blocking(wait_for_end).await?,
        Some(ended) => Err(format!("a stream ended early: {ended:?}").into()),
    }
}

/// How long events were under way, in microseconds.
type Delays = Arc<Mutex<Vec<u64>>>;

fn taken(delays: &Delays) -> MutexGuard<'_, Vec<u64>> {
    delays.lock().expect("no task panics with the lock")
}

/// Takes a stream's events for as long as they come. Its first one tells that the whole way is open.
async fn take_stream(address: SocketAddr, open: Arc<AtomicU64>, delays: Delays) -> std::io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: models\r\n\r\n").await?;
    let (mut buffer, mut is_open) = ([0; 4096], false);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let now = micros();
        let before = taken(&delays).len();
        taken(&delays).extend(sent(&buffer[..length]).map(|sent| now.saturating_sub(sent)));
        if !is_open && taken(&delays).len() > before {
            is_open = true;
            open.fetch_add(1, Relaxed);
        }
    }
}

fn wait_for_end() -> Outcome<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

// ---- requests

fn idle(address: SocketAddr, count: usize) -> Outcome<()> {
    let request = request();
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address)?;
        exchange(&mut stream, &request)?;
        connections.push(stream);
    }
    println!("open");
    wait_for_end()
}

/// Requests come at random moments whatever became of those before, as clients' do. A connection that is still waiting when its next
/// request is due makes that one late, and its latency counts from when it was due; the thread's own late waking up counts not.
fn open_loop(address: SocketAddr, rate: f64, connections: u32, seconds: u64) -> Outcome<()> {
    let until = clock::now().after(Duration::from_secs(seconds));
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            thread::spawn(move || -> Outcome<Vec<u64>> {
                let (mut stream, request) = (TcpStream::connect(address)?, request());
                stream.set_nodelay(true)?;
                let mut rng = StdRng::seed_from_u64(u64::from(number));
                let (mut due, mut latencies) = (clock::now(), Vec::new());
                loop {
                    let gap = -(1.0 - rng.random::<f64>()).ln() * f64::from(connections) / rate;
                    due = due.after(Duration::from_secs_f64(gap));
                    if due > until {
                        return Ok(latencies);
                    }
                    let now = clock::now();
                    let began = if due > now {
                        thread::sleep(due.since(now));
                        clock::now()
                    } else {
                        due
                    };
                    exchange(&mut stream, &request)?;
                    latencies.push(u64::try_from(clock::now().since(began).as_nanos())?);
                }
            })
        })
        .collect();
    let (mut latencies, mut errors) = (Vec::new(), 0);
    for thread in threads {
        match thread.join() {
            Ok(Ok(some)) => latencies.extend(some),
            Ok(Err(_)) | Err(_) => errors += 1,
        }
    }
    latencies.sort_unstable();
    let quantile = |permille: usize| {
        let place = latencies.len() * permille / 1000;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .map_or(f64::NAN, |nanos| *nanos as f64 / 1e3)
    };
    println!("{:.1} {:.1} {:.1} {errors} {}", quantile(500), quantile(990), quantile(999), latencies.len());
    Ok(())
}

fn request() -> Vec<u8> {
    let body = "a".repeat(600);
    format!("POST /v1/completions HTTP/1.1\r\nhost: models\r\ncontent-type: application/json\r\ncontent-length: 600\r\n\r\n{body}").into()
}

/// One request and its answer, which has a length.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> Outcome<()> {
    stream.write_all(request)?;
    let (mut buffer, mut length) = ([0; 8192], 0);
    loop {
        match stream.read(&mut buffer[length..])? {
            0 => return Err("the proxy closed the connection".into()),
            more => length += more,
        }
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut lines);
        if let httparse::Status::Complete(end) = head.parse(&buffer[..length])? {
            let code = head.code;
            let body = lines.iter().find(|line| line.name.eq_ignore_ascii_case("content-length"));
            let body = body.and_then(|line| str::from_utf8(line.value).ok()?.parse::<usize>().ok());
            if length >= end + body.ok_or("the answer has no length")? {
                return if code == Some(200) { Ok(()) } else { Err("the answer is not 200".into()) };
            }
        }
    }
}
