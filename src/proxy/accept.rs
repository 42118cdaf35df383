//! New connections: accepted, refused, or handed to the worker that holds the fewest.
//!
//! The kernel spreads connections over the workers' sockets by a hash, blindly. Connections of inference clients live long, so
//! an unlucky worker would stay overloaded; one that clearly holds more than another gives a new connection away
//! before its first byte is read.
//!
//! Where the system has no descriptor left, accepting pauses, since most of such moments pass with the next request that ends. If there is none
//! left after the pause either, the connections that wait are closed, by means of a descriptor kept for that: a client that sees its
//! connection end can go elsewhere, one that hangs in the queue cannot.

use std::{fs::File, io, rc::Rc, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use super::{
    connection,
    forwarded::Door,
    greeting::Accepted,
    listener::{AtStop, Listener},
    worker::{Admitted, Worker},
};
use crate::{
    net::{Acceptor, Parked, Peer, Plain},
    tls,
};

/// Connections on their way to a worker that has not taken them yet. When it is full, the giver keeps what it accepts.
pub(super) const HANDOVER_QUEUE: usize = 64;

/// How long accepting pauses when the system has no more descriptors or memory. Trying on would burn the core that running
/// requests need in order to end and give some back.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are closed after each pause in which nothing became better. As many as the kernel's queue commonly holds.
const CLOSED_AT_ONCE: usize = 128;

/// A connection on its way to another worker, before its first byte was read.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) stream: Parked,
    pub(super) peer: Peer,
    pub(super) tls: Option<Arc<tls::Server>>,
    pub(super) door: Door,
}

/// Accepts until the stop signal, then takes what nobody else will and closes the socket.
pub(super) async fn accept(
    worker: Rc<Worker>,
    listener: Listener,
    others: Arc<[mpsc::Sender<Handed>]>,
    mut shutdown: watch::Receiver<bool>,
) {
    let Listener { listening, tls, at_stop } = listener;
    let acceptor = match Acceptor::new(listening) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            tracing::error!(%error, worker = worker.number, "a worker cannot serve one of its sockets");
            return;
        }
    };
    let mut spare = Spare::new();
    let mut is_exhausted = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            accepted = acceptor.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                is_exhausted = false;
                admit(&worker, Accepted { stream, peer, tls: tls.clone(), door: Door::Data }, Some(&others));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if is_exhausted {
                    spare.lend(|| refuse_waiting(&worker, &acceptor));
                } else {
                    tracing::warn!(%error, worker = worker.number, "accepting pauses until the system has room");
                }
                is_exhausted = true;
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    if at_stop == AtStop::Leave {
        return;
    }
    while let Some(Ok((stream, peer))) = acceptor.accept().now_or_never() {
        admit(&worker, Accepted { stream, peer, tls: tls.clone(), door: Door::Data }, None);
    }
}

/// Serves connections that other workers hand over.
pub(super) async fn receive(worker: Rc<Worker>, mut handed: mpsc::Receiver<Handed>) {
    while let Some(Handed { stream, peer, tls, door }) = handed.recv().await {
        match Plain::unpark(stream) {
            Ok(stream) => admit(&worker, Accepted { stream, peer, tls, door }, None),
            Err(error) => tracing::warn!(%error, "could not take over a connection"),
        }
    }
}

/// A descriptor that is kept for the moment in which there is no other.
#[derive(Debug)]
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Gives the descriptor up for as long as this takes.
    fn lend(&mut self, work: impl FnOnce()) {
        drop(self.0.take());
        work();
        *self = Self::new();
    }
}

/// Closes connections that wait to be accepted, one after the other, so that one descriptor is enough.
fn refuse_waiting(worker: &Worker, acceptor: &Acceptor) {
    for _ in 0..CLOSED_AT_ONCE {
        let Some(Ok(_closed)) = acceptor.accept().now_or_never() else { return };
        worker.meters().accepted.up();
        worker.meters().refused.up();
    }
}

/// The error concerns a connection that the client has given up, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn admit(worker: &Rc<Worker>, accepted: Accepted, others: Option<&Arc<[mpsc::Sender<Handed>]>>) {
    let receiver = others.and_then(|others| {
        let on_their_way = |other: &mpsc::Sender<Handed>| other.max_capacity() - other.capacity();
        Some((others, worker.less_loaded(others.iter().map(on_their_way))?))
    });
    let accepted = match receiver {
        Some((others, receiver)) => match hand_over(worker, accepted, others.get(receiver)) {
            Some(accepted) => accepted,
            None => return,
        },
        None => accepted,
    };
    worker.meters().accepted.up();
    if worker.is_full() {
        worker.meters().refused.up();
        return;
    }
    // An answer's last part must not wait for the acknowledgement of the one before.
    if let Err(error) = accepted.stream.set_nodelay() {
        tracing::debug!(%error, peer = %accepted.peer, "a client left at once");
        return;
    }
    connection::begin(Admitted::new(worker), accepted);
}

/// Gives the connection to another worker, or back.
fn hand_over(
    worker: &Worker,
    accepted: Accepted,
    receiver: Option<&mpsc::Sender<Handed>>,
) -> Option<Accepted> {
    let Some(receiver) = receiver else { return Some(accepted) };
    let Ok(permit) = receiver.try_reserve() else { return Some(accepted) };
    let Accepted { stream, peer, tls, door } = accepted;
    match stream.park() {
        Ok(stream) => {
            permit.send(Handed { stream, peer, tls, door });
            worker.meters().handed_over.up();
        }
        Err(error) => tracing::warn!(%error, "could not hand a connection over"),
    }
    None
}
