//! Allocations per request of the whole proxy: its threads run in this process over a counting allocator, client and model server
//! are threads that are not counted.
//!
//! `cargo bench --bench allocations [-- REQUESTS]`. One request is under way at a time, on one connection, with 600 bytes in and 1 KiB
//! out; what is counted after [`WARM_UP`] requests is what a request takes and gives back. The counts are the same on every machine.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use bytes::Bytes;
use http::Request;
use snapback::{app, config};

/// Requests, or events, before the first that counts: connections are open and buffers have grown.
const WARM_UP: u64 = 200;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    uncounted();
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2_000);
    let (asks, asked) = mpsc::channel();
    let model = model_server(asked)?;
    let folder = tempfile::tempdir()?;
    let text = format!(
        "[data]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[state]\npath = {:?}\n\
         [[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"{model}\"] }}\n",
        folder.path().join("snapback.db")
    );
    let running = app::start(config::parse(&text, "bench")?, None)?;
    let proxy = running.data_addresses()[0];

    println!("{:<28}{:>14}{:>14}", "", "allocations", "bytes");
    report("HTTP/1.1 request", http1(proxy, count)?);
    report("HTTP/2 request", http2(proxy, count)?);
    report("server-sent event, HTTP/1.1", events(proxy, count, &asks)?);
    running.stop();
    Ok(())
}

fn report(what: &str, Taken { allocations, bytes }: Taken) {
    println!("{what:<28}{allocations:>14.2}{bytes:>14.0}");
}

fn http1(proxy: SocketAddr, count: u64) -> Outcome<Taken> {
    let mut client = TcpStream::connect(proxy)?;
    let body = "a".repeat(600);
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: models\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut taken = || {
        client.write_all(request.as_bytes())?;
        read_until(&mut client, &[b'x'; 1024])
    };
    (0..WARM_UP).try_for_each(|_| taken())?;
    per_round(count, || (0..count).try_for_each(|_| taken()))
}

fn http2(proxy: SocketAddr, count: u64) -> Outcome<Taken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut client, connection) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        Ok::<_, Box<dyn Error>>(h2::client::handshake(stream).await?)
    })?;
    runtime.spawn(connection);
    let body = Bytes::from("a".repeat(600));
    let mut rounds = |count| {
        runtime.block_on(async {
            for _ in 0..count {
                let request = Request::post("http://models/v1/completions")
                    .header("content-type", "application/json")
                    .header("content-length", body.len())
                    .body(())?;
                let (response, mut sending) = client.send_request(request, false)?;
                sending.send_data(body.clone(), true)?;
                let response = response.await?;
                if !response.status().is_success() {
                    return Err(format!("the proxy answered {}", response.status()).into());
                }
                let mut incoming = response.into_body();
                while let Some(data) = incoming.data().await {
                    incoming.flow_control().release_capacity(data?.len())?;
                }
            }
            Ok::<_, Box<dyn Error>>(())
        })
    };
    rounds(WARM_UP)?;
    per_round(count, || rounds(count))
}

/// Each event is asked for when the one before has arrived, so that none travels with another.
fn events(proxy: SocketAddr, count: u64, asks: &mpsc::Sender<()>) -> Outcome<Taken> {
    let mut client = TcpStream::connect(proxy)?;
    client.write_all(b"GET /v1/events HTTP/1.1\r\nhost: models\r\n\r\n")?;
    read_until(&mut client, b"\r\n\r\n")?;
    let mut taken = || {
        asks.send(())?;
        read_until(&mut client, b"\n\n\r\n")
    };
    (0..WARM_UP).try_for_each(|_| taken())?;
    per_round(count, || (0..count).try_for_each(|_| taken()))
}

/// Reads until what has come ends with these bytes.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> Outcome<()> {
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !buffer[..length].ends_with(end) {
        match stream.read(&mut buffer[length..])? {
            0 => return Err("the proxy closed the connection, or answered what was not expected".into()),
            more => length += more,
        }
    }
    Ok(())
}

/// Answers 1 KiB to whatever it is asked, and to `/v1/events` a stream of events, one each time that it hears `asked`.
fn model_server(asked: mpsc::Receiver<()>) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let asked = Arc::new(Mutex::new(asked));
    uncounted_thread(move || {
        while let Ok((stream, _)) = listener.accept() {
            let asked = Arc::clone(&asked);
            // The proxy closes the connection when it stops, which is no error here.
            uncounted_thread(move || drop(serve(stream, &asked)));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, asked: &Mutex<mpsc::Receiver<()>>) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let answer = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1024\r\n\r\n".as_slice(),
        &[b'x'; 1024],
    ];
    let (answer, mut buffer) = (answer.concat(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer)?;
        match &buffer[..length] {
            [] => return Ok(()),
            request if request.starts_with(b"GET /v1/events") => break,
            request if request.ends_with(b"a") => stream.write_all(&answer)?,
            // The body comes in a part of its own, or this is a health check.
            request if request.starts_with(b"POST") => {}
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?,
        }
    }
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"}}]}\n\n";
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    let asked = asked.lock().map_err(|_| "another stream panicked")?;
    while asked.recv().is_ok() {
        stream.write_all(chunk.as_bytes())?;
    }
    Ok(())
}

/// What one round took, on average.
struct Taken {
    allocations: f64,
    bytes: f64,
}

fn per_round(count: u64, rounds: impl FnOnce() -> Outcome<()>) -> Outcome<Taken> {
    let before = (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
    rounds()?;
    let per_round = |before, after: &AtomicU64| (after.load(Relaxed) - before) as f64 / count as f64;
    Ok(Taken { allocations: per_round(before.0, &ALLOCATIONS), bytes: per_round(before.1, &BYTES) })
}

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(true) };
}

/// This thread is no part of the proxy.
fn uncounted() {
    IS_COUNTED.set(false);
}

fn uncounted_thread(work: impl FnOnce() + Send + 'static) {
    thread::spawn(|| {
        uncounted();
        work();
    });
}

/// The system's allocator, counted.
struct Counting;

impl Counting {
    fn count(bytes: usize) {
        if IS_COUNTED.get() {
            ALLOCATIONS.fetch_add(1, Relaxed);
            BYTES.fetch_add(bytes as u64, Relaxed);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "the allocator's interface is unsafe; every call is passed on as it came")]
// SAFETY: `System` keeps the contract; counting allocates nothing, since the thread-local needs neither making nor dropping.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
