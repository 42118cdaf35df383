//! The data plane on real sockets: a plane in this process, model servers that misbehave on purpose, raw clients.
//!
//! - `kit`: the rig, the origin and the client that all of them use
//! - `edges`: what connections begin with and what carries them
//! - `forwarding`: what passes, and how it is changed on its way
//! - `framing`: requests and responses that could be read in two ways
//! - `faults`: instances that fail, clients that leave, and who is counted for it
//! - `limits`: sizes and times
//! - `lifetime`: many connections, table swaps, drain

mod edges;
mod faults;
mod forwarding;
mod framing;
mod kit;
mod lifetime;
mod limits;
