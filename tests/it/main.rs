//! The real binary, driven from outside over real sockets.
//!
//! - `bench.rs` (the workbench, not a benchmark): the process under test, model servers to put behind it, a plain client.
//! - `starting.rs`: what a start refuses, and what it says.
//! - `admitting.rs`: tokens of the admin port, and what their roles may do; whom it refuses, and that the trail has every call.
//! - `protecting.rs`: weights, limits on instances, and a process with few descriptors.
//! - `spreading.rs`: which worker a connection comes to, and which fleet a session.
//! - `rescuing.rs`: a failing green costs no client anything.
//! - `rolling.rs`: rolling shifts, batch by batch, and back.
//! - `shifting.rs`: shifts over the admin API, with traffic.
//! - `judging.rs`: what counts as a failure, what is too little to judge by, and what ends a shift or a step before its time.
//! - `replaying.rs`: what was recorded says again what the shift said.
//! - `streaming.rs`: alarms on the tokens of streams.
//! - `crashing.rs`: kill -9 at any time, and what the next start does.
//! - `dying.rs`: kill -9 at each boundary between two effects.
//! - `ending.rs`: SIGTERM, SIGHUP.
//! - `losing.rs`: what a power loss leaves of the journal's files, and a full disk.
//! - `noting.rs`: the access log, and the log's level.
//! - `handing_over.rs`: binaries replaced under load, with inherited sockets.
//! - `providing.rs`: fleets of processes that the proxy starts itself.
//! - `keeping.rs`: such fleets over time: replaced, moved, kept, handed over, declared anew.
//! - `batching.rs`: rolling shifts over such fleets.
//! - `resolving.rs`: fleets that are the addresses of a name.
//! - `telling.rs`: webhooks, the file of events, the trail of who did what, backups.
//! - `queueing.rs`: shifts that wait for others.
//! - `undoing.rs`: the version before comes back.
//! - `varying.rs`: endpoints with several models, and shifts over them.
//! - `securing.rs`: TLS at every port and to instances, certificates that change.

#![expect(clippy::unwrap_used, reason = "what a test's helper cannot do fails the test")]
#![expect(
    clippy::disallowed_methods,
    reason = "a process is watched from outside by the machine's own clock"
)]

mod admitting;
mod batching;
mod bench;
mod crashing;
mod dying;
mod ending;
mod freezing;
mod handing_over;
mod judging;
mod keeping;
mod losing;
mod noting;
mod protecting;
mod providing;
mod queueing;
mod replaying;
mod rescuing;
mod resolving;
mod rolling;
mod securing;
mod shifting;
mod spreading;
mod starting;
mod streaming;
mod telling;
mod undoing;
mod varying;
