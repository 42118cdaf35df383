//! HTTP/2 connections to instances, each shared by many requests of one worker.
//!
//! - `link`: a connection's socket, which writes once for each turn of its task
//! - `connection`: a connection, its task, and a request's seat on it
//! - `group`: the connections to one instance: when another one is opened and when one is closed
//!
//! hyper's client is not used here either: it has a task and two channels for each request. The h2 crate's streams are polled by the
//! request's own task, so that a request costs a connection's task one turn to send and one to receive, shared with all requests that
//! come at the same time.

mod connection;
mod group;
mod link;

#[cfg(test)]
mod tests;

pub(super) use connection::Seat;
pub(super) use group::Group;
