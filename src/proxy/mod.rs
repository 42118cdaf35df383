//! The data plane: one worker per core, each with its own listeners, connections and meters.
//!
//! The life of a request, each step in the file that knows how:
//!
//! 1. A worker accepts the connection, or hands it to a less loaded worker (`accept`), and speaks HTTP on it
//!    (`greeting`, `connection`, `http1`, `http2`). Everything after that happens in the request's own task on the worker's one
//!    thread: no lock is taken, nothing is `Send`, and in HTTP/1 a request and its response cost four system calls.
//! 2. `gate` refuses a head that two parsers could read differently. `headers` leaves out what belongs to one hop.
//! 3. `lane` finds the endpoint, after a look into the body where only the model tells it (`peek`), deals the fleet and picks
//!    the instance: the request has a `seat` there, whose end also says whether the instance is to be ejected. Where
//!    instances take only so many requests at a time, it may have to wait for one in a `queue`. From here on an `exchange` stands for the request; dropping it counts the outcome, so every dealt
//!    request is counted once.
//! 4. `pool` gives a connection to the instance, of as many as the worker's `allowance` is. A `call` uses it for one request (`http1_call`): `sending` writes what `upload` reads from
//!    the client, `decode` and `chunks` understand the response, and `body` streams it back and ends the exchange at the
//!    last byte.
//!    `rescue` gives what green failed to blue, if nothing of it has reached the client, within a `budget`; where the endpoint asks
//!    for it, `hold` keeps back an event stream's beginning until it says something, and
//!    `hedge` sends a second copy where an instance is slow to answer.
//!    `tap` reads what a model server's stream says as it passes: errors, the sign of a complete answer, tokens.
//! 5. `pulse` notices what takes too long. A worker looks at its connections every tenth of a second; a request starts no timer. `overdue`
//!    counts green's requests against a shift's latency alarms as soon as they are late, while they are still open. A gRPC caller sets its
//!    own limit for the whole call (`deadline`). `pace` finds clients that send or take a byte at a time.
//!
//! Where somebody is told of requests, such as an access log, each has an `account`.
//!
//! What goes wrong is a `Failure` (`error`); `answer` holds the one table of what clients are told about it, and `grpc` says it to
//! callers of gRPC.
//!
//! Where an endpoint has a shadow, `shadow` sends it copies of requests, whose answers nobody gets.
//!
//! Where an endpoint speaks Amazon SageMaker Runtime's API, `invocation` stands around all that, and `signing` asks who signed. Requests to
//! that API that came to the admin port come in by the `doorway`.
//!
//! A request that its instance answers by switching protocols becomes a tunnel (`upgrade`). Trailers pass in both directions, but for those
//! that may only stand in a head (`trailers`).

// Bytes from the network can never panic.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod accept;
mod account;
mod allowance;
mod answer;
mod blank_line;
mod body;
mod budget;
mod call;
mod caller;
mod chunks;
mod client;
mod connection;
mod date;
mod deadline;
mod deaths;
mod decode;
mod doorway;
mod error;
mod exchange;
mod forward;
mod forwarded;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod greeting;
mod grpc;
mod grpc_framing;
mod grpc_messages;
mod grpc_replies;
mod headers;
mod hearing;
mod hedge;
mod hold;
mod http1;
mod http1_call;
mod http2;
mod http2_call;
mod http2_head;
mod incoming;
mod invocation;
mod lane;
mod listener;
mod multiplex;
mod outbox;
mod overdue;
mod pace;
mod peek;
mod plane;
mod pool;
mod preface;
mod pulse;
mod queue;
mod read_memory;
mod rescue;
mod seat;
mod sending;
mod settings;
mod shadow;
mod signing;
mod socket;
mod stateful;
mod tap;
mod tokens;
mod trailers;
mod upgrade;
mod upload;
mod worker;

#[cfg(test)]
mod tests;

pub use doorway::{Doorway, DoorwayError};
pub use greeting::PROTOCOLS;
pub use listener::{BindError, Listen, Listeners};
pub use plane::DataPlane;
pub use settings::{Amazon, LeastRate, Settings, Signers};
pub use tap::{Progress, Tap};
