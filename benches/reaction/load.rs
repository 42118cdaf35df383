//! Clients that ask at a steady rate whatever becomes of their requests, and see what does.
//!
//! `peers/load.rs` has an open loop too. It ends a connection at the first answer that is not good; here those are what is counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use snapback::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::message;

/// A client whose connection was closed comes back after this.
const RECONNECT: Duration = Duration::from_millis(10);

/// Enough to see what is wrong.
const KEPT: usize = 5;

/// Clients of so many open connections; they stop when it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    seen: Arc<Seen>,
    _clients: JoinSet<()>,
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    answers: AtomicU64,
    failures: AtomicU64,
    /// Some different answers that were not good, or what kept one away.
    bad: Mutex<Vec<String>>,
}

impl Load {
    /// Starts clients that ask so many times a second together, at random moments.
    pub(crate) fn start(proxy: SocketAddr, connections: u32, rate: f64) -> Self {
        let seen = Arc::<Seen>::default();
        let gap = f64::from(connections) / rate;
        let clients =
            (0..connections).map(|number| ask_for_ever(proxy, number.into(), gap, Arc::clone(&seen)));
        Self { _clients: clients.collect(), seen }
    }

    /// Requests that ended, well or not.
    pub(crate) fn answers(&self) -> u64 {
        self.seen.answers.load(Relaxed)
    }

    /// Of these, those that did not end with a good answer: another status than 200, an error in the stream, a closed connection.
    pub(crate) fn failures(&self) -> u64 {
        self.seen.failures.load(Relaxed)
    }

    /// What some of the failures since this was asked last were.
    pub(crate) fn take_bad(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.bad.lock().expect("no client panics with the lock"))
    }
}

/// `gap` is the mean of the seconds between two requests.
async fn ask_for_ever(proxy: SocketAddr, seed: u64, gap: f64, seen: Arc<Seen>) {
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        if let Ok(mut stream) = TcpStream::connect(proxy).await {
            let mut due = clock::now();
            loop {
                let wait = -(1.0 - rng.random::<f64>()).ln() * gap;
                due = due.after(Duration::from_secs_f64(wait));
                tokio::time::sleep(due.since(clock::now())).await;
                let answer = ask(&mut stream).await;
                seen.count(&answer);
                if answer.is_err() {
                    break;
                }
            }
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

impl Seen {
    fn count(&self, answer: &std::io::Result<Answered>) {
        self.answers.fetch_add(1, Relaxed);
        let bad = match answer {
            Ok(Answered::Well) => return,
            Ok(Answered::Badly(answer)) => answer.clone(),
            Err(error) => error.to_string(),
        };
        self.failures.fetch_add(1, Relaxed);
        let mut kept = self.bad.lock().expect("no client panics with the lock");
        if kept.len() < KEPT && !kept.contains(&bad) {
            kept.push(bad);
        }
    }
}

enum Answered {
    Well,
    /// With this.
    Badly(String),
}

async fn ask(stream: &mut TcpStream) -> std::io::Result<Answered> {
    stream.write_all(REQUEST.as_bytes()).await?;
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !message::is_whole(&buffer[..length]) {
        match stream.read(&mut buffer[length..]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    let answer = &buffer[..length];
    let is_good =
        answer.starts_with(b"HTTP/1.1 200 ") && !answer.windows(7).any(|seven| seven == b"\"error\"");
    Ok(if is_good { Answered::Well } else { Answered::Badly(String::from_utf8_lossy(answer).into_owned()) })
}

const REQUEST: &str = "POST /v1/completions HTTP/1.1\r\nhost: models\r\ncontent-type: application/json\r\ncontent-length: 35\r\n\r\n\
    {\"prompt\":\"A proxy \",\"stream\":true}";
