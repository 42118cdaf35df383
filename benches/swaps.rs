//! Table swaps under load: the same load with and without a thousand swaps a second, in turn.
//!
//! `cargo bench --bench swaps [-- ROUNDS SECONDS]`; needs wrk. Each swap is a new split, so every worker starts a new deck at each.
//! What counts is the ratio of the medians and that no request fails; the machine's own noise is in both.

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use snapback::{
    app, clock, config,
    fleet::{Address, Fleet, Instance},
    meter::FleetMeters,
    name::Version,
    route::{EndpointRoute, FleetRoute, Generation, RouteTable, Split},
    weight::Share,
};

const SWAP_EVERY: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let rounds = numbers.next().unwrap_or(5);
    let seconds = numbers.next().unwrap_or(2);

    let (blue, green) = (model_server()?, model_server()?);
    let folder = tempfile::tempdir()?;
    let text = format!(
        "[data]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[state]\npath = {:?}\n\
         [[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"{blue}\"] }}\n",
        folder.path().join("snapback.db")
    );
    let running = app::start(config::parse(&text, "bench")?, None)?;
    let target = running.data_addresses()[0];
    let swapper = Swapper::new(running.table(), green)?;

    swapper.swap(0);
    load(target, 1)?;
    let (mut still, mut swapped) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let quiet = load(target, seconds)?;
        let stop = AtomicBool::new(false);
        let (busy, swaps) = thread::scope(|scope| {
            let swapping = scope.spawn(|| swapper.swap_until(&stop));
            let busy = load(target, seconds);
            stop.store(true, Relaxed);
            (busy, swapping.join())
        });
        let (busy, swaps) = (busy?, swaps.map_err(|_| "the swapping thread panicked")?);
        println!(
            "round {round}: {:.0} requests/s without swaps, {:.0} with {} swaps/s; errors {} and {}",
            quiet.rate,
            busy.rate,
            swaps / seconds as u64,
            quiet.errors,
            busy.errors
        );
        still.push(quiet);
        swapped.push(busy);
    }
    let errors: u64 = still.iter().chain(&swapped).map(|load| load.errors).sum();
    let ratio = median(&swapped) / median(&still);
    println!(
        "throughput with swaps is {ratio:.3} of that without (medians of {rounds} rounds), {errors} errors in all"
    );
    running.stop();
    Ok(())
}

/// What wrk saw.
struct Load {
    rate: f64,
    errors: u64,
}

fn load(target: SocketAddr, seconds: usize) -> Result<Load, Box<dyn Error>> {
    let output = Command::new("wrk")
        .args(["-t1", "-c64", &format!("-d{seconds}s"), &format!("http://{target}/v1/completions")])
        .output()
        .map_err(|error| format!("cannot run wrk (Debian's package wrk): {error}"))?;
    let text = String::from_utf8(output.stdout)?;
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let rate = rate.ok_or_else(|| format!("wrk printed no rate: {text}"))?.trim().parse()?;
    let count = |line: &str| {
        line.split(|letter: char| !letter.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>()
    };
    let errors =
        text.lines().filter(|line| line.contains("Socket errors") || line.contains("Non-2xx")).map(|line| {
            // `Non-2xx or 3xx responses: N` has two numbers of its own before the colon.
            count(line.split_once(':').map_or(line, |(_, counts)| counts))
        });
    Ok(Load { rate, errors: errors.sum() })
}

fn median(loads: &[Load]) -> f64 {
    let mut rates: Vec<f64> = loads.iter().map(|load| load.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Stores a new table again and again, each with a new deck at ten percent.
struct Swapper {
    table: Arc<ArcSwap<RouteTable>>,
    route: EndpointRoute,
}

impl Swapper {
    fn new(table: &Arc<ArcSwap<RouteTable>>, green: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let mut route = table.load().endpoints()[0].as_ref().clone();
        let instance = Instance::new(Address::parse(&green.to_string())?, 1);
        route.green = Some(FleetRoute {
            fleet: Arc::new(Fleet::of(Version::parse("v2")?, vec![Arc::new(instance)])),
            meters: Arc::new(FleetMeters::new(1)),
        });
        Ok(Self { table: Arc::clone(table), route })
    }

    fn swap_until(&self, stop: &AtomicBool) -> u64 {
        let (mut swaps, mut due) = (0, clock::now());
        while !stop.load(Relaxed) {
            swaps += 1;
            self.swap(swaps);
            // From the last due moment, not from now: a late wake-up is made up for.
            due = due.after(SWAP_EVERY);
            thread::sleep(due.since(clock::now()));
        }
        swaps
    }

    fn swap(&self, number: u64) {
        let mut route = self.route.clone();
        let green = Share::parse("10%").expect("ten percent is a share");
        route.split = Split { green, epoch: (1 << 32) + number };
        let generation = Generation(self.table.load().generation().0 + 1);
        self.table.store(Arc::new(RouteTable::new(generation, vec![Arc::new(route)])));
    }
}

/// A model server of one thread that answers 1 KiB to whatever it is asked.
fn model_server() -> Result<SocketAddr, Box<dyn Error>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
                );
            }
        });
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    drop(request.into_body().collect().await);
    Ok(Response::new(Full::new(Bytes::from_static(&[b'x'; 1024]))))
}
