//! A plane, origins and clients. All ports are chosen by the system; all waits end after [`PATIENCE`].

use std::{
    collections::HashMap,
    io::Write,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    num::NonZeroU32,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::HeaderName;
use tokio::sync::{Notify, watch};

pub(super) use super::reader::MessageReader;
use crate::{
    fleet::{Address, Fleet, Instance, Protocol, UpstreamTls, Variant, VariantWeight},
    meter::{Bell, FleetMeters, Reading, Recorder, Recording, TokenBound, WarmUp, WatchPoint, WorkerMeters},
    name::{EndpointName, VariantName, Version},
    net::{ListenAddress, ProxyProtocol, TrustedProxies},
    proxy::{
        DataPlane, LeastRate, Listen, Listeners, Settings, client::Client as PlaneClient, worker::Worker,
    },
    route::{
        Balance, EndpointRoute, EndpointSlot, FailureClasses, FleetRoute, Generation, Invocations, Limits,
        MatchRule, Protection, RescuePolicy, Rewrite, RouteTable, Signals, Split, Sticky, Underscores,
        Upgrades,
    },
    tls,
    weight::Share,
};

/// Longer than anything that works takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running plane with one endpoint that takes everything.
pub(super) struct Rig {
    pub(super) address: SocketAddr,
    pub(super) table: Arc<ArcSwap<RouteTable>>,
    pub(super) workers: Arc<[WorkerMeters]>,
    pub(super) route: EndpointRoute,
    stop: watch::Sender<bool>,
    plane: Option<DataPlane>,
}

/// Outcomes that a rig keeps, on each of its workers at least.
const RECORDED: usize = 64;

/// What a rig is made with.
pub(super) struct Setup {
    pub(super) listen: ListenAddress,
    pub(super) blue: Vec<SocketAddr>,
    /// More instances of blue, which need not be internet addresses.
    pub(super) blue_addresses: Vec<Address>,
    pub(super) blue_tls: Option<Arc<UpstreamTls>>,
    /// What both fleets speak.
    pub(super) protocol: Protocol,
    pub(super) green: Vec<SocketAddr>,
    pub(super) green_share: &'static str,
    pub(super) limits: Limits,
    pub(super) failures: FailureClasses,
    pub(super) rescue: RescuePolicy,
    pub(super) sticky: Option<Sticky>,
    /// Names and weights of variants that have one instance each in either fleet, in the fleets' order; none for fleets without.
    pub(super) variants: Vec<(&'static str, f64)>,
    /// The header by which requests name one of them.
    pub(super) variant_header: Option<HeaderName>,
    /// Whether clients speak SageMaker Runtime's API.
    pub(super) invocations: Option<Invocations>,
    pub(super) settings: Settings,
    pub(super) rule: MatchRule,
    pub(super) balance: Balance,
    pub(super) protection: Protection,
    /// Of blue's instances, in their order; none for those that are left out.
    pub(super) max_concurrency: Vec<Option<NonZeroU32>>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) upgrades: Upgrades,
    pub(super) signals: Signals,
    pub(super) workers: usize,
    /// The bounds of the latency alarms that watch green.
    pub(super) latency_bounds: Vec<Duration>,
    pub(super) warm_up: Option<WarmUp>,
    /// Whether a shift compares both fleets' latency.
    pub(super) compares_latency: bool,
    /// The bounds of the guards on tokens that watch green.
    pub(super) token_bounds: Vec<TokenBound>,
    pub(super) tls: Option<Arc<tls::Server>>,
}

impl Setup {
    pub(super) fn new(blue: &[SocketAddr]) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            blue: blue.to_vec(),
            blue_addresses: Vec::new(),
            blue_tls: None,
            protocol: Protocol::Http1,
            green: Vec::new(),
            green_share: "0%",
            limits: Limits { idle_timeout: PATIENCE, head_timeout: PATIENCE, ..Limits::default() },
            failures: FailureClasses::default(),
            rescue: RescuePolicy::default(),
            sticky: None,
            variants: Vec::new(),
            variant_header: None,
            invocations: None,
            settings: Settings {
                expose_fleet: false,
                expose_variant: false,
                head_timeout: PATIENCE,
                keep_alive_timeout: PATIENCE,
                upstream_idle_timeout: PATIENCE,
                head_limit_bytes: 16 * 1024,
                connections_per_worker: 1_000,
                upstreams_per_worker: 1_000,
                requests_per_worker: 1_000,
                least_rate: LeastRate { bytes_per_second: 0, window: LeastRate::WINDOW },
                replay_memory_bytes: 1 << 30,
                model_window_bytes: 1_024,
                drain_timeout: PATIENCE,
                proxy_protocol: ProxyProtocol::Off,
                underscores: Underscores::Drop,
                trusted_proxies: TrustedProxies::default(),
                witnesses: Default::default(),
                amazon: None,
                keychain: Arc::default(),
            },
            rule: MatchRule::default(),
            balance: Balance::default(),
            protection: Protection::default(),
            max_concurrency: Vec::new(),
            rewrite: None,
            upgrades: Upgrades::default(),
            signals: Signals::Auto,
            workers: 1,
            latency_bounds: Vec::new(),
            warm_up: None,
            compares_latency: false,
            token_bounds: Vec::new(),
            tls: None,
        }
    }

    pub(super) fn start(self) -> Rig {
        let listen = Listen { address: self.listen, tls: self.tls };
        let listeners = Listeners::bind(&[listen], self.workers).unwrap();
        let address = listeners.bound()[0].address.internet();
        let address = address.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let speak = |instance: Instance| instance.speaking(self.protocol);
        let green = (!self.green.is_empty()).then(|| {
            partitioned(fleet("green", &addresses(&self.green), self.workers, speak), &self.variants)
        });
        let blue = [addresses(&self.blue), self.blue_addresses].concat();
        let share = Share::parse(self.green_share).unwrap();
        let mut route = EndpointRoute {
            slot: EndpointSlot(0),
            name: EndpointName::parse("test").unwrap(),
            rule: self.rule,
            limits: self.limits,
            failures: self.failures,
            rescue: self.rescue,
            sticky: self.sticky,
            variant_header: self.variant_header,
            invocations: self.invocations,
            balance: self.balance,
            protection: self.protection,
            rewrite: self.rewrite,
            upgrades: self.upgrades,
            signals: self.signals,
            recording: Recording::default(),
            shadow: None,
            split: Split { green: share, epoch: 1 },
            blue: partitioned(
                fleet("blue", &blue, self.workers, |instance| speak(instance).secured(self.blue_tls.clone())),
                &self.variants,
            ),
            leg: None,
            watch: green.is_some().then(|| {
                let watch = WatchPoint::new(&self.latency_bounds, Arc::new(Bell::new()));
                let watch = watch.with_token_bounds(&self.token_bounds).warming(self.warm_up);
                Arc::new(if self.compares_latency { watch.comparing_latency() } else { watch })
            }),
            green,
        };
        route.record_to(Some(Arc::new(Recorder::new(self.workers, RECORDED))), None);
        for (instance, most) in route.blue.fleet.instances.iter().zip(self.max_concurrency) {
            instance.set_max_concurrency(most);
        }
        let table = RouteTable::new(Generation(1), vec![Arc::new(route.clone())]);
        let table = Arc::new(ArcSwap::from_pointee(table));
        let workers: Arc<[WorkerMeters]> = (0..self.workers).map(|_| WorkerMeters::default()).collect();
        let (stop, stopped) = watch::channel(false);
        let plane =
            DataPlane::start(listeners, self.settings, Arc::clone(&table), Arc::clone(&workers), stopped);
        Rig { address, table, workers, route, stop, plane: Some(plane.unwrap()) }
    }
}

/// A client's connection on a worker that nothing drives, for what needs one and no socket.
pub(in crate::proxy) fn client_alone() -> Rc<PlaneClient> {
    let table = RouteTable::new(Generation(1), Vec::new());
    let table = Arc::new(ArcSwap::from_pointee(table));
    let settings = Setup::new(&[]).settings;
    let meters = Arc::from([WorkerMeters::default()]);
    Rc::new(PlaneClient::new(Worker::new(0, settings, table, meters, Arc::from([Notify::new()]))))
}

fn addresses(internet: &[SocketAddr]) -> Vec<Address> {
    internet.iter().map(|address| Address::parse(&address.to_string()).unwrap()).collect()
}

fn fleet(
    version: &str,
    addresses: &[Address],
    workers: usize,
    finish: impl Fn(Instance) -> Instance,
) -> FleetRoute {
    let instance = |address: &Address| Arc::new(finish(Instance::new(address.clone(), workers)));
    FleetRoute {
        fleet: Arc::new(Fleet::of(
            Version::parse(version).unwrap(),
            addresses.iter().map(instance).collect(),
        )),
        meters: Arc::new(FleetMeters::new(workers)),
    }
}

/// The fleet with each of its instances as a variant.
pub(super) fn partitioned(route: FleetRoute, variants: &[(&str, f64)]) -> FleetRoute {
    let variant = |(place, (name, weight)): (usize, &(&str, f64))| Variant {
        name: VariantName::parse(name).unwrap(),
        weight: VariantWeight::from_number(*weight).unwrap(),
        instances: place..place + 1,
    };
    let variants: Vec<_> = variants.iter().enumerate().map(variant).collect();
    let names = variants.iter().map(|variant| &variant.name);
    let meters = Arc::new(FleetMeters::with_variants(route.meters.workers(), names));
    let (version, instances) = (route.fleet.version.clone(), route.fleet.instances.clone());
    FleetRoute { fleet: Arc::new(Fleet { version, instances, variants }), meters }
}

impl Rig {
    /// A plane in front of one origin, with everything at its default.
    pub(super) fn before(origin: &Origin) -> Self {
        Setup::new(&[origin.address]).start()
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Blue's meters.
    pub(super) fn blue(&self) -> Reading {
        self.route.blue.meters.read()
    }

    /// Green's meters.
    pub(super) fn green(&self) -> Reading {
        self.route.green.as_ref().unwrap().meters.read()
    }

    /// Blue's meters, once they have come to what is expected.
    pub(super) fn blue_when(&self, fits: impl Fn(&Reading) -> bool) -> Reading {
        eventually(|| Some(self.blue()).filter(|reading| fits(reading)))
    }

    /// Green's meters, once they have come to what is expected.
    pub(super) fn green_when(&self, fits: impl Fn(&Reading) -> bool) -> Reading {
        eventually(|| Some(self.green()).filter(|reading| fits(reading)))
    }

    /// Publishes a table that gives green this share.
    pub(super) fn give(&self, share: &str) {
        let before = self.table.load().generation().0;
        let split = Split { green: Share::parse(share).unwrap(), epoch: before + 1 };
        let route = EndpointRoute { split, ..self.route.clone() };
        self.table.store(Arc::new(RouteTable::new(Generation(before + 1), vec![Arc::new(route)])));
    }

    pub(super) fn begin_drain(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the plane has drained.
    pub(super) fn join(&mut self) {
        self.plane.take().unwrap().join();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Looks again and again until there is something to see.
pub(super) fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let rounds = PATIENCE.as_millis() / 2;
    for _ in 0..rounds {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    panic!("what the test waits for did not happen");
}

/// A model server: a strict parser that remembers what it got, and answers as it is told.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
    /// Which of the origin's connections it came on, from 1.
    pub(super) connection: usize,
}

/// What an origin does with a connection after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    Keep,
    Close,
}

impl Origin {
    /// An origin that calls `answer` with every whole request.
    pub(super) fn new(answer: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        Self::raw(move |stream, seen, connection| {
            let mut reader = MessageReader::new(stream.try_clone().unwrap());
            while let Some(mut request) = reader.request() {
                request.connection = connection;
                seen.lock().unwrap().push(request.clone());
                if answer(&request, stream) == Then::Close {
                    return;
                }
            }
        })
    }

    /// An origin that answers every request with this text.
    pub(super) fn saying(response: &'static str) -> Self {
        Self::new(move |_, stream| {
            let sent = stream.write_all(response.as_bytes());
            if sent.is_ok() { Then::Keep } else { Then::Close }
        })
    }

    /// An origin that does with a connection what it likes.
    pub(super) fn raw(
        serve: impl Fn(&mut TcpStream, &Mutex<Vec<Seen>>, usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let serve = Arc::new(serve);
        let (list, count) = (Arc::clone(&seen), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let (serve, list) = (Arc::clone(&serve), Arc::clone(&list));
                std::thread::spawn(move || {
                    serve(&mut stream, &list, number);
                    let _closed = stream.shutdown(Shutdown::Both).is_ok();
                });
            }
        });
        Self { address, seen, connections }
    }

    /// The requests that arrived, in order.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A listener that hundreds of connections can wait in at once. The standard library's holds 128, and what comes on top is tried again by the
/// kernel after a second, when the plane's time to connect is over: on a busy machine a request of a burst failed in the place of its answer.
fn listener() -> TcpListener {
    const WAITING: i32 = 1_024;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(WAITING).unwrap();
    socket.into()
}

impl Seen {
    /// The values of a header.
    pub(super) fn header(&self, name: &str) -> Vec<&str> {
        let fits = self.headers.iter().filter(|(key, _)| key == name);
        fits.map(|(_, value)| value.as_str()).collect()
    }
}

/// An address that nothing listens on, and that no other test gets meanwhile: its socket is bound, never listens, and is kept.
pub(super) fn nobody() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A client that writes what it is told and reads strictly.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    reader: MessageReader,
}

/// A response as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
    /// Whether the body came to the end that its framing promised.
    pub(super) is_whole: bool,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = MessageReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    pub(super) fn answer(&mut self) -> Answer {
        self.reader.response("GET").expect("an answer before the end of the connection")
    }

    pub(super) fn answer_to_head(&mut self) -> Answer {
        self.reader.response("HEAD").expect("an answer before the end of the connection")
    }

    /// The answer, or `None` when the connection ends without one.
    pub(super) fn answer_if_any(&mut self) -> Option<Answer> {
        self.reader.response("GET")
    }

    /// Whether the connection was seen to end with a reset.
    pub(super) fn is_reset(&self) -> bool {
        self.reader.is_reset
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).answer()
    }

    pub(super) fn post(&mut self, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"))
            .answer()
    }

    /// Reads exactly this from what has not been read yet.
    pub(super) fn expect(&mut self, text: &str) {
        let found = self.reader.take(text.len()).expect("more before the end of the connection");
        assert_eq!(String::from_utf8_lossy(&found), text);
    }

    /// The head of a response whose body the test reads itself.
    pub(super) fn head(&mut self) -> String {
        self.reader.head().expect("a head before the end of the connection")
    }

    /// Whether the connection ends, by close or reset, with nothing more on it.
    pub(super) fn is_closed(&mut self) -> bool {
        self.reader.line().is_none()
    }
}
