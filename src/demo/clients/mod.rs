//! The demo's clients: many independent users, as far as one address can tell.
//!
//! Requests arrive as a Poisson process whose rate swells and ebbs; prompts come from a pool, answer lengths are lognormal, and half
//! of the requests are streamed chats. Every answer is judged at its last byte, as a user would.

mod arrivals;
mod judge;
mod ledger;
mod request;

pub(in crate::demo) use ledger::{Failure, Ledger, Tally};

use std::{io, net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until},
};

use super::connections::Connections;
use crate::clock;
use arrivals::Arrivals;
use request::Ask;

/// Requests in flight at one time. At the demo's rate some five are; past this bound arrivals wait, so that a proxy that stands
/// still is not buried.
const IN_FLIGHT: usize = 512;

/// At the end, how long running requests may finish.
const DRAIN: Duration = Duration::from_secs(10);

/// Running clients.
#[derive(Debug)]
pub(super) struct Clients {
    ledger: Arc<Ledger>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Clients {
    /// Starts to send, on a thread of its own.
    pub(super) fn start(proxy: SocketAddr, seed: u64) -> io::Result<Self> {
        let ledger = Arc::new(Ledger::default());
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let send = send(Connections::to(proxy), seed, Arc::clone(&ledger), stopped);
        let thread = std::thread::Builder::new()
            .name("demo-clients".to_owned())
            .spawn(move || runtime.block_on(send))?;
        Ok(Self { ledger, stop, thread })
    }

    /// What the clients have seen.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// No new requests; running ones finish. Blocks.
    pub(super) fn stop(self) {
        self.stop.send_replace(true);
        self.thread.join().expect("the clients' thread does not panic");
    }
}

async fn send(proxy: Connections, seed: u64, ledger: Arc<Ledger>, mut stopped: watch::Receiver<bool>) {
    let proxy = Arc::new(proxy);
    let mut random = StdRng::seed_from_u64(seed);
    let mut arrivals = Arrivals::new(StdRng::seed_from_u64(seed.wrapping_add(1)));
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let begin = Instant::now();
    loop {
        let due = begin + arrivals.next_after_start();
        tokio::select! {
            () = sleep_until(due) => {}
            _ = stopped.changed() => break,
        }
        let ask = Ask::draw(&mut random);
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let (proxy, ledger) = (Arc::clone(&proxy), Arc::clone(&ledger));
        tokio::spawn(async move {
            let (sent, sent_at) = (clock::now(), clock::wall());
            let seen = proxy.ask(ask.to_request()).await;
            let took = clock::now().since(sent);
            match judge::judge(ask.form, seen) {
                Ok(()) => ledger.served(took),
                Err(flaw) => {
                    ledger.failed(Failure { sent_at, ended_at: clock::wall(), what: flaw.to_string() })
                }
            }
            drop(slot);
        });
    }
    let all = u32::try_from(IN_FLIGHT).expect("a bound of hundreds");
    if tokio::time::timeout(DRAIN, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("requests were cut at the end of the clients' drain");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{fleets::Fleets, model::ModelVersion};

    /// What clients of one instance have seen once both counts are reached.
    fn tally_of(version: ModelVersion, served: u64, failed: u64) -> Tally {
        let fleets = Fleets::start().unwrap();
        let clients = Clients::start(fleets.addresses(version)[0], 1).unwrap();
        let tally = loop {
            let tally = clients.ledger().tally();
            if tally.served >= served && tally.failed >= failed {
                break tally;
            }
            std::thread::yield_now();
        };
        clients.stop();
        fleets.stop();
        tally
    }

    #[test]
    fn a_good_model_serves_every_client() {
        let tally = tally_of(ModelVersion::V1, 40, 0);
        assert_eq!((tally.failed, tally.failures.first()), (0, None));
    }

    #[test]
    fn the_broken_model_serves_some_clients_and_fails_others_with_500() {
        let tally = tally_of(ModelVersion::V3, 5, 5);
        assert!(
            tally.failures.iter().all(|failure| failure.what.starts_with("status 500: the model failed")),
            "{tally:?}"
        );
    }
}
