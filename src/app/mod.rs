//! The one place that builds and wires everything: sockets first, threads last, drained in reverse.

mod deliver;
mod limits;
mod serve;
mod sockets;
mod start;
mod witnessing;

pub use serve::serve;
pub use start::{Running, StartError, start, start_inheriting};
