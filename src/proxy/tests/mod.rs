//! The data plane on real sockets: a plane in this process, model servers that misbehave on purpose, raw clients.
//!
//! - `kit`: the rig, the origin and the client that all of them use, which read by `reader`
//! - `edges`: what connections begin with and what carries them
//! - `forwarding`: what passes, and how it is changed on its way
//! - `trailers`: what comes after a body, in both directions
//! - `framing`: requests and responses that could be read in two ways
//! - `smuggling`: the same in the disguises that research has found
//! - `faults`: instances that fail, clients that leave, and who is counted for it
//! - `limits`: sizes and times
//! - `http2`: the same from clients of HTTP/2, with `raw2` for what a library would not send; `http2_endings`: how that ends
//! - `upstream2`: HTTP/2 to instances, with `origin2` for such an instance; `upstream2_endings`: how that ends
//! - `grpc`: calls, their deadlines and their statuses
//! - `grpc_streams`: messages as tokens
//! - `rescue`: what green fails goes to blue, and what blue cannot take to another instance
//! - `hedge`: what goes to a second instance because the first is slow
//! - `streams`: event streams that are held until they say something
//! - `sticky`: sessions that stay on their fleet
//! - `variants`: endpoints whose requests go to one of several models
//! - `overdue`: what is late while it is still open
//! - `pooling`: which of a worker's connections to an instance is taken
//! - `balancing`: which instance takes a request, and which worker a connection
//! - `ejection`: instances that get no requests because they failed too many
//! - `queue`: instances that take only so many requests at a time
//! - `matching`: models and paths
//! - `upgrades`: connections that become tunnels
//! - `tunnels2`: the same from clients of HTTP/2
//! - `storm`: many requests through `faulty`, an instance that fails in every way that a seed can choose
//! - `recording`: what is kept of each outcome
//! - `lifetime`: many connections, table swaps, drain

mod balancing;
mod edges;
mod ejection;
mod failures;
mod faults;
mod faulty;
mod forwarding;
mod framing;
mod grpc;
mod grpc_streams;
mod hedge;
mod http2;
mod http2_endings;
mod kit;
mod lifetime;
mod limits;
mod matching;
mod origin2;
mod overdue;
mod pooling;
mod queue;
mod raw2;
mod reader;
mod recording;
mod rescue;
mod shadow;
mod smuggling;
mod sticky;
mod storm;
mod streams;
mod trailers;
mod tunnels2;
mod tunnels_upstream2;
mod upgrades;
mod upstream2;
mod upstream2_endings;
mod variants;
mod warming;

pub(super) use kit::client_alone;
