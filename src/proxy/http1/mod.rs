//! HTTP/1 with clients.
//!
//! hyper has a server too, and it is not used, for what it costs and for what it lets through. It keeps two buffers of 8 KiB for each
//! connection, busy or not, and the request's future beside them; it takes headers out of one map and puts them into another; and it
//! repairs heads that must be refused. Here what is read lies in memory that all connections of a worker share (`read_memory`), what
//! is written in a buffer that is borrowed for the write, and a request is on the heap only while it runs: an idle connection
//! is its socket and a few hundred bytes.
//!
//! `connection` is the loop: a head (`head`), the request's body as the instance asks for it (`body`), the response (`reply`), and the
//! next head, which may have come already.

mod body;
mod connection;
mod head;
mod reply;

pub(super) use body::Body;
pub(super) use connection::serve;
#[cfg(any(test, fuzzing))]
pub(super) use head::{Head, read as read_head};
