//! Snapback is a reverse proxy for model servers that ships new models safely. It forwards inference traffic, shifts it from
//! the fleet in service (blue) to the incoming fleet (green) by a plan, watches every response as it passes, and snaps back
//! to blue the moment green is worse. One binary, no sidecar, no metrics pipeline in the loop.
//!
//! # The life of a request
//!
//! 1. A worker accepts the connection. There is one worker per core ([`proxy`]): a thread with its own listeners, upstream
//!    connections and meters, so that nothing on a request's path takes a lock or crosses a core.
//! 2. The request's head passes a strict gate: what could be framed in two ways is refused before it is routed.
//! 3. The worker reads the [`route::RouteTable`] once, and the request keeps that snapshot to its end. The table says which
//!    endpoint the request belongs to; where only the model tells it, as much of the body is read as it takes to see the model's name.
//! 4. The worker's [`route::Deck`] for that endpoint deals the fleet; where the endpoint has several variants, each with a deck of its own,
//!    their weights or a header have chosen one before ([`route::VariantDecks`]). A share is exact in every block of draws and random inside it.
//!    The draw is final: a green that cannot take the request is an outcome of green.
//! 5. [`route::Choice`] picks the instance: by default the less busy of two ([`route::pick`]), by requests in flight over all workers
//!    for the instance's weight. Where instances take only so many at a time the request may wait for room, in a bounded queue. One
//!    that fails requests in a row gets none for a while; what it failed is counted all the same, and a green on trial keeps it.
//! 6. The request goes out on a pooled connection; both bodies stream. If a reused connection turns out to have been closed
//!    before a byte of the answer came, the request is sent once more on a fresh one.
//!    Where the endpoint asks for it, a request whose instance is slow to answer goes to a second one as well.
//! 7. A request that green failed is counted as green's failure and then goes to blue, unless the client has seen a byte, the body is
//!    no longer there, or the endpoint's budget of second tries is spent. What blue makes of it counts for nobody.
//! 8. At the last byte of the response's body the request comes to its [`meter::Outcome`], which is counted in the meters of (worker,
//!    variant, fleet) with plain loads and stores. Whether a stream was answered in full is read from its events as they pass, which delays
//!    none. A bad outcome of green rings the evaluator's bell.
//!
//! # The life of a shift
//!
//! 1. An operator posts a plan to the admin port ([`admin`]); [`config`] checks it into domain values, or says everything that
//!    is wrong with it at once.
//! 2. The control task ([`control`]) gives it to the engine ([`shift::Shift`]), a state machine that takes inputs and returns effects
//!    and does nothing itself. The driver writes the new state to the journal ([`store`]) and then carries the effects out:
//!    provision green, wait until it is ready, publish a table with the first step's share.
//! 3. While a step bakes, the evaluator, a thread of its own, looks at green's meters every 10 ms and whenever the bell rings, and
//!    feeds the alarms ([`alarm`]): tests that stay valid however often they are looked at. What the proxy cannot see, such as the quality
//!    of answers, is reported to it, or it asks a webhook or a Prometheus.
//! 4. When the bake is over, the alarms are looked at once more. Are they clear, the next step begins; have they too little data, the step
//!    holds; after the last step blue is kept warm for a while, drains and goes. The shift is promoted.
//! 5. When an alarm is raised, the evaluator itself publishes the table that gives green nothing: first the act, then the
//!    journal, then the telling. Going back to blue is always safe, so it waits for nobody. The shift is rolled back when
//!    green's last running request has ended.
//! 6. After a crash the proxy serves what the journal says, and a running shift goes on from its step with a fresh bake.
//! 7. A rolling shift has no second whole fleet: the table names a part of each, a step brings a batch of green and takes one of blue, and
//!    the way back leads over bringing blue's batches back. [`shift`] says what green keeps meanwhile.
//!
//! # The modules, from top to bottom
//!
//! Imports point downward only; `tests/tidy.rs` holds the table and fails on a violation.
//!
//! - [`app`] is the one place that builds and wires everything; [`demo`] tells a story on top of it. [`docs`] has longer texts: what
//!   protects a proxy on a network, and which test holds it.
//! - Edges: [`proxy`] the data plane; [`control`] decides, watches, remembers and recovers; [`admin`] the admin port; [`cli`] the commands;
//!   [`provider`] makes fleets; [`store`] the journal; [`delivery`] carries its events out; [`telemetry`] metrics and logs; [`tls`]
//!   certificates and handshakes; [`pages`] files that grow in pages; [`aws`] signatures of Amazon's clients; [`lint`] says of a plan what it can find; [`trial`] looks at a shift's alarms, and
//!   [`replay`] plays a plan over recorded outcomes; [`config`] files; [`net`] sockets; [`clock`] the clocks;
//!   [`fault`] the points at which a test kills the process.
//! - Pure, without runtime, I/O, clock or logging: [`fleet`], [`meter`], [`route`], [`alarm`], [`shift`], and [`cloudwatch`], which keeps metrics and
//!   judges alarms for Amazon's clients.
//! - Leaves: [`name`], [`time`], [`weight`].
//!
//! [`proxy`] and [`control`] never import each other. They share two values that [`app`] makes: the route table behind an
//! `ArcSwap` (control writes, the proxy reads) and the meters (the proxy bumps, control reads).
//!
//! # Absent on purpose
//!
//! - No work-stealing runtime on the request path, and no pooled client that locks: a worker owns what it touches.
//! - No metrics pipeline in the loop: what the alarms see is what was counted, milliseconds ago.
//! - No second try at the dealing of a fleet: moving on to blue when green is not ready would hide green's failures. A rescue
//!   comes after the failure was counted.
//! - No clock, socket or logger in the modules that decide: they are tested by literal moments.

pub mod admin;
pub mod alarm;
pub mod app;
pub mod aws;
pub mod cli;
pub mod clock;
pub mod cloudwatch;
pub mod config;
pub mod control;
pub mod delivery;
pub mod demo;
pub mod docs;
pub mod fault;
pub mod fleet;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod lint;
pub mod meter;
pub mod name;
pub mod net;
pub mod pages;
pub mod provider;
pub mod proxy;
pub mod replay;
pub mod route;
pub mod shift;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod trial;
pub mod weight;
