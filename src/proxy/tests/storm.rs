//! Many requests through an instance that fails in all ways, as a seed says: what clients see, what is counted, and what is left behind.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::Request;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    faulty::{Fault, Faulty, Shows},
    kit::{Client, Origin, Rig, Setup, Then, eventually, nobody},
};
use crate::{
    fleet::Health,
    meter::Reading,
    route::{EndpointRoute, Generation, Limits, Replayed, RescuePolicy, RouteTable},
    weight::Share,
};

/// Requests for each kind of client and each way to rescue: each fault some three times.
const REQUESTS: usize = 100;

/// What a stalled instance is given. On a busy machine even a whole answer may take longer, so only stalls are timed by it.
const SHORT: Duration = Duration::from_millis(100);

/// A body beyond this cannot be sent a second time.
const REPLAY_LIMIT_BYTES: usize = 64 * 1024;

/// How a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speaks {
    Http10,
    Http11,
    Http2,
}

/// What happens to the requests that green fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rescues {
    /// The failing fleet is blue itself, and nobody helps.
    No,
    /// The failing fleet is green, and blue is well.
    ToBlue,
}

#[test]
fn every_request_through_a_failing_instance_is_answered_whole_refused_or_visibly_cut() {
    let fresh = rand::random();
    std::thread::scope(|scope| {
        for seed in [20_261, fresh] {
            for speaks in [Speaks::Http10, Speaks::Http11, Speaks::Http2] {
                for rescues in [Rescues::No, Rescues::ToBlue] {
                    scope.spawn(move || Storm::new(seed, speaks, rescues).run());
                }
            }
        }
    });
}

/// What is going on, told if the test fails.
struct Scene(String);

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

struct Storm {
    seed: u64,
    speaks: Speaks,
    rescues: Rescues,
    rng: StdRng,
    faulty: Faulty,
    rig: Rig,
    asker: Asker,
}

impl Storm {
    fn new(seed: u64, speaks: Speaks, rescues: Rescues) -> Self {
        let faulty = Faulty::start();
        let failing = [faulty.address, nobody()];
        let mut setup = match rescues {
            Rescues::No => Setup::new(&failing),
            Rescues::ToBlue => {
                let blue = Origin::new(|request, stream| {
                    let answer = request.header("x-answer")[0];
                    let length = answer.len();
                    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}");
                    if stream.write_all(text.as_bytes()).is_ok() { Then::Keep } else { Then::Close }
                });
                Setup { green: failing.to_vec(), green_share: "100%", ..Setup::new(&[blue.address]) }
            }
        };
        setup.limits.replay_limit_bytes = REPLAY_LIMIT_BYTES;
        setup.rescue = RescuePolicy { budget: Share::ALL, retry: Replayed::Never, ..RescuePolicy::default() };
        let rig = setup.start();
        let asker = Asker::new(speaks, rig.address);
        Self { seed, speaks, rescues, rng: StdRng::seed_from_u64(seed), faulty, rig, asker }
    }

    fn run(mut self) {
        for number in 0..REQUESTS {
            let fault = Fault::ALL[self.rng.random_range(0..Fault::ALL.len())];
            let body = vec![b'x'; [0, 0, 10, 200_000][self.rng.random_range(0..4)]];
            let answer = format!("answer {number} {}", ".".repeat(self.rng.random_range(2..2_000)));
            let Self { seed, speaks, rescues, .. } = &self;
            let length = body.len();
            let _scene = Scene(format!(
                "seed {seed}, {speaks:?}, {rescues:?}, request {number}: {fault:?}, body {length}"
            ));
            let saw = self.ask(fault, &body, &answer);
            let is_right = self.permits(fault, &body, &saw);
            assert!(is_right, "the client saw {saw:?}");
            // Whatever happened, the next request is none the worse for it.
            let next = format!("after {number}");
            assert_eq!(self.ask(Fault::None, b"", &next), Saw::Whole, "the request after it");
        }
        self.leave_nothing_behind();
    }

    /// One request to its end, and all of its counts.
    fn ask(&mut self, fault: Fault, body: &[u8], answer: &str) -> Saw {
        self.prepare(fault);
        self.faulty.tell(fault, body, answer);
        let before = self.failing();
        let saw = self.asker.ask(body, answer);
        let after = eventually(|| Some(self.failing()).filter(|reading| reading.settled() == reading.dealt));
        assert_eq!(after.dealt - before.dealt, 1, "one request is dealt once and settled once");
        let in_flight = || {
            let green = self.rig.route.green.as_ref().map_or(0, |green| green.fleet.in_flight());
            green + self.rig.route.blue.fleet.in_flight()
        };
        eventually(|| (in_flight() == 0).then_some(()));
        assert_eq!(self.faulty.spoilt(), 0, "every body that arrived was the one that was sent");
        saw
    }

    /// The meters of the fleet that fails.
    fn failing(&self) -> Reading {
        match self.rescues {
            Rescues::No => self.rig.blue(),
            Rescues::ToBlue => self.rig.green(),
        }
    }

    /// Sends the next request to the instance that nobody listens at, or to the one that fails; and waits briefly for what stalls.
    fn prepare(&self, fault: Fault) {
        let route = &self.rig.route;
        let fleet = route.green.as_ref().unwrap_or(&route.blue);
        let [faulty, refusing] = &fleet.fleet.instances[..] else { panic!("two instances") };
        let is_refused = fault == Fault::Refuse;
        let health = |is_well| if is_well { Health::Healthy } else { Health::Unhealthy };
        faulty.set_health(health(!is_refused));
        refusing.set_health(health(is_refused));
        let mut limits = route.limits;
        if matches!(fault, Fault::Stall | Fault::StallInBody) {
            limits = Limits { head_timeout: SHORT, idle_timeout: SHORT, ..limits };
        }
        let generation = Generation(self.rig.table.load().generation().0 + 1);
        let split = self.rig.table.load().endpoints()[0].split;
        let route = EndpointRoute { limits, split, ..route.clone() };
        self.rig.table.store(Arc::new(RouteTable::new(generation, vec![Arc::new(route)])));
    }

    /// Whether this is what a client may see of the fault.
    fn permits(&self, fault: Fault, body: &[u8], saw: &Saw) -> bool {
        let is_timed = matches!(fault, Fault::Stall | Fault::StallInBody);
        let is_rescued = self.rescues == Rescues::ToBlue && body.len() <= REPLAY_LIMIT_BYTES;
        match (fault.shows_as(), saw) {
            (Shows::Whole, Saw::Whole) | (Shows::Cut, Saw::Cut) => true,
            // A connection that was closed unheard twice over is given up, and blue may be too late where time is short.
            (Shows::Problem, Saw::Problem) => {
                let dies =
                    matches!(fault, Fault::CloseAtOnce | Fault::CloseAfterRequest | Fault::ResetAfterHead);
                !is_rescued || dies || is_timed
            }
            // Of a large body, too little may have been read yet to be too much.
            (Shows::Problem, Saw::Whole) => self.rescues == Rescues::ToBlue,
            // Its head may be late where time is short.
            (Shows::Cut, Saw::Problem) => is_timed,
            (Shows::Cut, Saw::Whole) => is_timed && is_rescued,
            (Shows::Whole, Saw::Problem | Saw::Cut) | (Shows::Problem, Saw::Cut) => false,
            (_, Saw::Wrong(_)) => false,
        }
    }

    /// No connection outlives its use, neither the client's nor more than the one of the instance that is kept for the next request.
    fn leave_nothing_behind(self) {
        let Self { seed, speaks, rescues, faulty, rig, asker, .. } = self;
        let _scene = Scene(format!("seed {seed}, {speaks:?}, {rescues:?}, at the end"));
        eventually(|| (faulty.open() <= 1).then_some(()));
        drop(asker);
        eventually(|| (rig.workers[0].connections.get() == 0).then_some(()));
        if rescues == Rescues::ToBlue {
            assert!(rig.green().rescued() > 0, "no request was rescued");
        }
        drop(rig);
        eventually(|| (faulty.open() == 0).then_some(()));
    }
}

/// What a client saw.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Saw {
    /// The answer that it was to get.
    Whole,
    /// A whole problem document.
    Problem,
    /// Less than was promised, and visibly so.
    Cut,
    /// What it must not see.
    Wrong(String),
}

impl Saw {
    fn of(status: u16, media: Option<&str>, body: &[u8], is_whole: bool, answer: &str) -> Self {
        let is_problem = media == Some("application/problem+json") && matches!(status, 502..=504);
        match (is_whole, status) {
            (true, 200) if body == answer.as_bytes() => Self::Whole,
            (true, _) if is_problem => Self::Problem,
            (false, 200) if answer.as_bytes().starts_with(body) || body.starts_with(answer.as_bytes()) => {
                Self::Cut
            }
            _ => Self::Wrong(format!("{status} {media:?} {:?} {is_whole}", String::from_utf8_lossy(body))),
        }
    }
}

/// A client that keeps its connection for as long as it is let.
enum Asker {
    Http1 { address: SocketAddr, speaks: Speaks, client: Option<Client> },
    Http2 { address: SocketAddr, runtime: tokio::runtime::Runtime, sender: Option<SendRequest<Bytes>> },
}

impl Asker {
    fn new(speaks: Speaks, address: SocketAddr) -> Self {
        match speaks {
            Speaks::Http10 | Speaks::Http11 => Self::Http1 { address, speaks, client: None },
            Speaks::Http2 => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                Self::Http2 { address, runtime, sender: None }
            }
        }
    }

    fn ask(&mut self, body: &[u8], answer: &str) -> Saw {
        match self {
            Self::Http1 { address, speaks, client } => {
                let (saw, kept) = ask_http1(*address, *speaks, client.take(), body, answer);
                *client = kept;
                saw
            }
            Self::Http2 { address, runtime, sender } => {
                runtime.block_on(ask_http2(*address, sender, body, answer))
            }
        }
    }
}

/// What the client saw, and the client if its connection is still good.
fn ask_http1(
    address: SocketAddr,
    speaks: Speaks,
    client: Option<Client>,
    body: &[u8],
    answer: &str,
) -> (Saw, Option<Client>) {
    let mut client = client.unwrap_or_else(|| Client::connect(address));
    let version = if speaks == Speaks::Http10 { "1.0" } else { "1.1" };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let head = format!(
        "{method} /v1/x HTTP/{version}\r\nhost: test\r\nx-answer: {answer}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut writer = client.stream.try_clone().unwrap();
    let answered = std::thread::scope(|scope| {
        // An early answer may end the connection before the body has been sent.
        scope.spawn(move || drop(writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body))));
        client.answer_if_any()
    });
    let Some(got) = answered else { return (Saw::Wrong("no answer".to_owned()), None) };
    // Without a length only a reset shows that more was to come.
    let is_whole = got.is_whole && !(got.header("content-length").is_none() && client.is_reset());
    let saw = Saw::of(got.status, got.header("content-type"), &got.body, is_whole, answer);
    let is_kept = speaks == Speaks::Http11 && is_whole && got.header("connection") != Some("close");
    (saw, is_kept.then_some(client))
}

async fn ask_http2(
    address: SocketAddr,
    sender: &mut Option<SendRequest<Bytes>>,
    body: &[u8],
    answer: &str,
) -> Saw {
    let mut ready = match sender.take() {
        Some(sender) => sender.ready().await.unwrap(),
        None => {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            // The library takes many small frames that were not read yet for an attack; how many, depends on the window.
            let mut builder = h2::client::Builder::new();
            let (ready, connection) =
                builder.initial_connection_window_size(1 << 24).handshake(stream).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            ready
        }
    };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = Request::builder().method(method).uri("http://test/v1/x").header("x-answer", answer);
    let (response, stream) = ready.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
    *sender = Some(ready);
    let (response, ()) = tokio::join!(response, push(stream, body));
    let response = match response {
        Ok(response) => response,
        Err(error) => return Saw::Wrong(format!("no answer: {error}")),
    };
    let status = response.status().as_u16();
    let media =
        response.headers().get("content-type").and_then(|media| media.to_str().ok().map(str::to_owned));
    let (body, is_whole) = read(response.into_body()).await;
    Saw::of(status, media.as_deref(), &body, is_whole, answer)
}

/// Sends a body as far as it is wanted.
async fn push(mut stream: SendStream<Bytes>, body: &[u8]) {
    let mut rest = body;
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(Ok(capacity)) = capacity else { return };
        let (part, later) = rest.split_at(capacity.min(rest.len()));
        if stream.send_data(Bytes::copy_from_slice(part), later.is_empty()).is_err() {
            return;
        }
        rest = later;
    }
}

async fn read(mut body: RecvStream) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        let Ok(bytes) = bytes else { return (text, false) };
        drop(body.flow_control().release_capacity(bytes.len()));
        text.extend_from_slice(&bytes);
    }
    (text, true)
}
