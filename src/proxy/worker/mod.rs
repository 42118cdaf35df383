//! One worker: what its connections share, and its life from the first accept to the last drained request.

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, Cache};
use http::{HeaderMap, HeaderValue};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};

use super::{
    Settings,
    accept::{self, Handed},
    allowance::Allowance,
    client::{Client, Order},
    date::Date,
    deadline::Deadlines,
    error::Failure,
    headers::{NewId, RequestIds},
    invocation::Named,
    lane::{Dealt, Lanes},
    listener::Listener,
    pulse::{LOOK, Pulse, SWEEP},
    queue::Doorbells,
    read_memory::ReadMemory,
};
use crate::{
    clock,
    meter::WorkerMeters,
    route::{self, Generation, Invocations, Lookup, ModelKey, RequestKey, RouteTable, UnknownVariant},
};

#[cfg(test)]
mod tests;

/// How long a connection without a request is kept when the worker drains. A client that is about to send one would otherwise find
/// its connection closed under its hands, and may not be able to send it again; now it gets its answer, and `Connection: close`. A
/// client that is that busy sends within a second; one that is not has all the time to see the close.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Buffers that a worker keeps, and how large they may be: as many requests as are commonly begun in one turn.
const KEPT_BUFFERS: usize = 64;
const KEPT_BUFFER_BYTES: usize = 16 * 1024;

/// How large a map for headers may be to be kept.
const KEPT_HEADERS: usize = 128;

/// What all connections of a worker share. Used by one thread.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) settings: Settings,
    all_meters: Arc<[WorkerMeters]>,
    doorbells: Doorbells,
    table: RefCell<Cache<Arc<ArcSwap<RouteTable>>, Arc<RouteTable>>>,
    lanes: RefCell<Lanes>,
    allowance: Rc<Allowance>,
    followed: Cell<Generation>,
    rng: RefCell<StdRng>,
    request_ids: RefCell<RequestIds>,
    /// Where its HTTP/1 connections read to.
    pub(super) read_memory: ReadMemory,
    /// What requests were written to, for the next ones. The one used last is taken first.
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Empty maps that headers were in, for the next ones.
    spare_headers: RefCell<Vec<HeaderMap>>,
    /// The time of day as responses state it, as of the last sweep.
    date: RefCell<Date>,
    /// Requests that were dealt and have not ended.
    in_flight: Cell<usize>,
    /// The time limits of copies for shadows, which are among the requests in flight.
    copies: RefCell<Vec<Rc<Pulse>>>,
    /// Bytes of request bodies that are kept for second tries.
    replay_bytes: Cell<usize>,
    /// When gRPC callers want their calls to be over.
    pub(super) deadlines: Deadlines,
    clients: RefCell<Vec<Rc<Client>>>,
    emptied: Notify,
}

/// What became of a look at the table.
#[derive(Debug)]
pub(super) enum Deal {
    /// The endpoint, and the fleet that was dealt.
    To(Dealt),
    /// The endpoint depends on the model that the body names.
    NeedsModel,
}

/// A connection's place among those of its worker, until dropped.
pub(super) struct Admitted {
    pub(super) client: Rc<Client>,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        settings: Settings,
        table: Arc<ArcSwap<RouteTable>>,
        all_meters: Arc<[WorkerMeters]>,
        doorbells: Doorbells,
    ) -> Rc<Self> {
        let allowance = Allowance::new(settings.upstreams_per_worker);
        let (bells, keychain) = (Arc::clone(&doorbells), Arc::clone(&settings.keychain));
        let lanes = Lanes::new(number, bells, keychain, Rc::clone(&allowance));
        Rc::new(Self {
            number,
            all_meters,
            table: RefCell::new(Cache::new(table)),
            lanes: RefCell::new(lanes),
            allowance,
            doorbells,
            followed: Cell::default(),
            rng: RefCell::new(StdRng::from_rng(&mut rand::rng())),
            request_ids: RefCell::new(RequestIds::new(StdRng::from_rng(&mut rand::rng()))),
            read_memory: ReadMemory::default(),
            buffers: RefCell::default(),
            spare_headers: RefCell::default(),
            date: RefCell::new(Date::new(clock::wall())),
            in_flight: Cell::default(),
            copies: RefCell::default(),
            replay_bytes: Cell::default(),
            deadlines: Deadlines::default(),
            clients: RefCell::default(),
            emptied: Notify::new(),
            settings,
        })
    }

    /// This worker's counters.
    pub(super) fn meters(&self) -> &WorkerMeters {
        self.all_meters.get(self.number).expect("there are as many meters as workers")
    }

    /// This worker's randomness. To be held for no longer than an expression.
    pub(super) fn rng(&self) -> RefMut<'_, StdRng> {
        self.rng.borrow_mut()
    }

    /// An empty buffer to write a request to.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back for another request.
    pub(super) fn give_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffer.capacity() <= KEPT_BUFFER_BYTES && buffers.len() < KEPT_BUFFERS {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// An empty map for headers.
    pub(super) fn take_headers(&self) -> HeaderMap {
        self.spare_headers.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a map back for other headers.
    pub(super) fn give_headers(&self, mut headers: HeaderMap) {
        let mut spare = self.spare_headers.borrow_mut();
        if (1..=KEPT_HEADERS).contains(&headers.capacity()) && spare.len() < KEPT_BUFFERS {
            headers.clear();
            spare.push(headers);
        }
    }

    /// Writes a response's `Date`.
    pub(super) fn write_date(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.date.borrow().line());
    }

    /// The same as a header's value.
    pub(super) fn date(&self) -> HeaderValue {
        self.date.borrow().value().clone()
    }

    /// An id for a request that needs one.
    pub(super) fn new_id(&self) -> NewId<'_> {
        NewId::new(&self.request_ids)
    }

    /// Finds a request's endpoint in the table of this moment and deals a fleet.
    pub(super) fn deal(&self, key: &RequestKey<'_>) -> Result<Deal, Failure> {
        let mut table = self.table.borrow_mut();
        let table = table.load();
        let found = if table.compares_paths() {
            let path = route::normalise(key.path).map_err(Failure::OddPath)?;
            let named = match key.model {
                ModelKey::Unread => route::model_of_path(&path),
                ModelKey::Absent | ModelKey::Named(_) => None,
            };
            let model = named.as_deref().map_or(key.model, ModelKey::Named);
            table.find(&RequestKey { path: &path, model, ..*key })
        } else {
            table.find(key)
        };
        match found {
            Lookup::Found(route) => {
                let dealt = self.lanes.borrow_mut().deal(route, key.headers, &mut *self.rng());
                dealt.map(Deal::To).map_err(|UnknownVariant| Failure::unknown_variant(route))
            }
            Lookup::NeedsModel => Ok(Deal::NeedsModel),
            Lookup::Nobody => Err(Failure::NoMatch),
        }
    }

    /// What a name stands for in the paths of Amazon's API.
    pub(super) fn named(&self, name: &str) -> Named {
        let mut table = self.table.borrow_mut();
        let Some(route) = table.load().endpoints().iter().find(|route| route.name.as_str() == name) else {
            return Named::Nobody;
        };
        let Some(Invocations { variant }) = &route.invocations else { return Named::Another };
        let is_alone = route.blue.fleet.variants.is_empty();
        Named::Ours { alone: is_alone.then(|| variant.clone()) }
    }

    /// Closes idle connections to instances if a further one could not be made without.
    pub(super) fn make_room_upstream(&self) {
        if self.allowance.is_spent() {
            let now = clock::now();
            self.lanes.borrow().upstreams().for_each(|upstream| upstream.close_idle(now));
        }
    }

    /// One more request in flight.
    pub(super) fn begin_request(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// One request fewer in flight, once for each [`Worker::begin_request`].
    pub(super) fn end_request(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// Whether it has as many requests in flight as it may. Copies take no request's place: they have bounds of their own.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.get() >= self.settings.requests_per_worker
            && self.in_flight.get().saturating_sub(self.copies.borrow().len())
                >= self.settings.requests_per_worker
    }

    /// A copy for a shadow begins.
    pub(super) fn begin_copy(&self, pulse: &Rc<Pulse>) {
        self.copies.borrow_mut().push(Rc::clone(pulse));
    }

    /// It has ended.
    pub(super) fn end_copy(&self, pulse: &Rc<Pulse>) {
        self.copies.borrow_mut().retain(|other| !Rc::ptr_eq(other, pulse));
    }

    /// Room for so many more bytes of a request body that is kept for a second try, if there is.
    pub(super) fn take_replay_room(&self, bytes: usize) -> bool {
        let total = self.replay_bytes.get().saturating_add(bytes);
        let fits = total <= self.settings.replay_memory_bytes;
        if fits {
            self.replay_bytes.set(total);
        }
        fits
    }

    /// Gives back what [`Worker::take_replay_room`] took.
    pub(super) fn give_replay_room(&self, bytes: usize) {
        self.replay_bytes.set(self.replay_bytes.get().saturating_sub(bytes));
    }

    /// Counts a request whose task ends in a panic. The runtime catches that, so it ends nothing else.
    pub(super) fn note_panic(&self) {
        if std::thread::panicking() {
            self.meters().panicked.up();
        }
    }

    /// Whether it holds as many connections as it may.
    pub(super) fn is_full(&self) -> bool {
        self.clients.borrow().len() >= self.settings.connections_per_worker
    }

    /// The worker with the fewest connections, if this one holds clearly more. The margin keeps workers from passing
    /// connections to and fro over differences that do not matter. `on_their_way` says how many each was given and has not taken
    /// yet: without them, all connections of a burst would go to the same worker.
    pub(super) fn less_loaded(&self, on_their_way: impl Iterator<Item = usize>) -> Option<usize> {
        let count = |(meters, given): (&WorkerMeters, usize)| {
            meters.connections.get().saturating_add(u64::try_from(given).unwrap_or(u64::MAX))
        };
        let counts = self.all_meters.iter().zip(on_their_way).map(count);
        let (mut own, mut least) = (0, (u64::MAX, self.number));
        for (count, number) in counts.zip(0..) {
            least = least.min((count, number));
            if number == self.number {
                own = count;
            }
        }
        let (least, receiver) = least;
        (receiver != self.number && own > least.saturating_add(1 + least / 8)).then_some(receiver)
    }

    /// One look at everything that time wears out.
    fn sweep(&self) {
        let now = clock::now();
        for client in &*self.clients.borrow() {
            client.check(now);
        }
        for copy in &*self.copies.borrow() {
            copy.check(now);
        }
        self.date.borrow_mut().turn(clock::wall());
        self.deadlines.rest();
        let mut lanes = self.lanes.borrow_mut();
        let mut table = self.table.borrow_mut();
        let table = table.load();
        if self.followed.replace(table.generation()) != table.generation() {
            lanes.follow(table);
        }
        for budget in lanes.budgets() {
            budget.look(now);
        }
        lanes.sweep(now, &mut *self.rng());
        for upstream in lanes.upstreams() {
            upstream.sweep(now, self.settings.upstream_idle_timeout);
        }
    }

    /// Waits until there may be room for a request that waits.
    async fn rung(&self) {
        self.doorbells.get(self.number).expect("there are as many doorbells as workers").notified().await;
    }

    fn admit_waiting(&self) {
        self.lanes.borrow().admit_waiting(clock::now(), &mut *self.rng());
    }

    /// The same as [`Worker::sweep`] at what cannot wait for it.
    fn look(&self) {
        let now = clock::now();
        self.deadlines.look(now);
        self.lanes.borrow_mut().look_for_overdue(self.number, now);
    }

    fn command(&self, order: Order) {
        for client in &*self.clients.borrow() {
            client.command(order);
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Admitted {
    pub(super) fn new(worker: &Rc<Worker>) -> Self {
        let client = Rc::new(Client::new(Rc::clone(worker)));
        let mut clients = worker.clients.borrow_mut();
        client.place.set(clients.len());
        clients.push(Rc::clone(&client));
        worker.meters().connections.up();
        Self { client }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let worker = &self.client.worker;
        let mut clients = worker.clients.borrow_mut();
        let place = self.client.place.get();
        clients.swap_remove(place);
        if let Some(moved) = clients.get(place) {
            moved.place.set(place);
        }
        worker.meters().connections.down();
        worker.note_panic();
        if clients.is_empty() {
            worker.emptied.notify_waiters();
        }
    }
}

/// Serves these sockets until the stop signal, then drains. Must run in a `LocalSet`, which ends what is left when it is dropped.
pub(super) async fn run(
    worker: Rc<Worker>,
    listeners: Vec<Listener>,
    others: Arc<[mpsc::Sender<Handed>]>,
    handed: mpsc::Receiver<Handed>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let sweeping = tokio::task::spawn_local(sweep_for_ever(Rc::clone(&worker)));
    let mut receiving = tokio::task::spawn_local(accept::receive(Rc::clone(&worker), handed));
    let mut accepting = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let accept = accept::accept(Rc::clone(&worker), listener, Arc::clone(&others), shutdown.clone());
        accepting.push(tokio::task::spawn_local(accept));
    }
    // An error means that nobody can send the signal any more, which stops the worker too.
    let _stopped = shutdown.wait_for(|stop| *stop).await.is_ok();
    // Once every worker has stopped accepting, nobody can hand anything over, and receiving ends with what was under way.
    drop(others);
    for task in accepting {
        if task.await.is_err() {
            tracing::error!(worker = worker.number, "accepting panicked");
        }
    }
    drain(&worker, &mut receiving).await;
    receiving.abort();
    sweeping.abort();
    Ok(())
}

async fn sweep_for_ever(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_watching = worker.lanes.borrow().has_open_requests();
        let has_deadlines = worker.deadlines.is_watched();
        tokio::select! {
            _ = ticks.tick() => worker.sweep(),
            () = worker.rung() => worker.admit_waiting(),
            () = tokio::time::sleep(LOOK), if is_watching || has_deadlines => worker.look(),
            () = worker.deadlines.begun(), if !has_deadlines => {}
        }
    }
}

/// Lets running requests end, up to the drain timeout, then cuts what is left. What another worker handed over at the last moment is a
/// connection like any other, so a worker that has none waits for `receiving` to end.
async fn drain(worker: &Worker, receiving: &mut JoinHandle<()>) {
    let finish = async {
        let began = clock::now();
        while !receiving.is_finished() || !worker.clients.borrow().is_empty() {
            // Said again and again, since connections may still come that other workers handed over.
            let is_early = clock::now().since(began) < LAST_REQUEST;
            worker.command(if is_early { Order::Finish } else { Order::Drain });
            let is_receiving = !receiving.is_finished();
            tokio::select! {
                _ended = &mut *receiving, if is_receiving => {}
                () = worker.emptied.notified() => {}
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    };
    if tokio::time::timeout(worker.settings.drain_timeout, finish).await.is_err() {
        let left = worker.clients.borrow().len();
        tracing::warn!(worker = worker.number, left, "the drain timeout cut running requests");
        worker.command(Order::Cut);
        tokio::task::yield_now().await;
    }
}
