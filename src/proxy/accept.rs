//! New connections: accepted, refused, or handed to the worker that holds the fewest.
//!
//! The kernel spreads connections over the workers' sockets by a hash, blindly. Connections of inference clients live long, so
//! an unlucky worker would stay overloaded; one that clearly holds more than another gives a new connection away
//! before its first byte is read.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use super::{
    connection,
    worker::{Admitted, Worker},
};

/// Connections on their way to a worker that has not taken them yet. When it is full, the giver keeps what it accepts.
pub(super) const HANDOVER_QUEUE: usize = 64;

/// How long accepting pauses when the system has no more descriptors or memory. Trying on would burn the core that running
/// requests need in order to end and give some back.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A connection on its way to another worker.
pub(super) type Handed = (TcpStream, SocketAddr);

/// Accepts until the stop signal, then takes what the kernel has already accepted and closes the socket.
pub(super) async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    others: Arc<[mpsc::Sender<Handed>]>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut is_exhausted = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                is_exhausted = false;
                admit(&worker, stream, peer, Some(&others));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !is_exhausted {
                    tracing::warn!(%error, worker = worker.number, "accepting pauses until the system has room");
                }
                is_exhausted = true;
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        admit(&worker, stream, peer, None);
    }
}

/// Serves connections that other workers hand over.
pub(super) async fn receive(worker: Rc<Worker>, mut handed: mpsc::Receiver<Handed>) {
    while let Some((stream, peer)) = handed.recv().await {
        match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => admit(&worker, stream, peer, None),
            Err(error) => tracing::warn!(%error, "could not take over a connection"),
        }
    }
}

/// The error concerns a connection that the client has given up, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn admit(
    worker: &Rc<Worker>,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    others: Option<&Arc<[mpsc::Sender<Handed>]>>,
) {
    let stream = match others.and_then(|others| Some((others, worker.less_loaded()?))) {
        Some((others, receiver)) => match hand_over(worker, stream, peer, others.get(receiver)) {
            Some(stream) => stream,
            None => return,
        },
        None => stream,
    };
    worker.meters().accepted.up();
    if worker.is_full() {
        worker.meters().refused.up();
        return;
    }
    // An answer's last part must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "a client left at once");
        return;
    }
    tokio::task::spawn_local(connection::serve(Admitted::new(worker, stream, peer), peer));
}

/// Gives the connection to another worker, or back.
fn hand_over(
    worker: &Worker,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    receiver: Option<&mpsc::Sender<Handed>>,
) -> Option<tokio::net::TcpStream> {
    let Some(receiver) = receiver else { return Some(stream) };
    let Ok(permit) = receiver.try_reserve() else { return Some(stream) };
    match stream.into_std() {
        Ok(stream) => {
            permit.send((stream, peer));
            worker.meters().handed_over.up();
        }
        Err(error) => tracing::warn!(%error, "could not hand a connection over"),
    }
    None
}
