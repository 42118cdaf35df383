//! An instance that has switched protocols: its side of a tunnel.

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Duplex, End};
use crate::proxy::{multiplex::Seat, pool::Lease, read_memory::ReadMemory};

/// An instance that has switched protocols.
#[derive(Debug)]
pub(in crate::proxy) struct Switched {
    pub(in crate::proxy) instance: Instance,
    /// What came along with its answer.
    pub(in crate::proxy) early: Bytes,
}

/// What its side is carried by.
#[derive(Debug)]
pub(in crate::proxy) enum Instance {
    /// A connection that has left HTTP/1.
    Connection(Lease),
    /// A stream of a connection that stays in HTTP/2. Its seat there is taken for as long as the tunnel lasts.
    Stream { stream: Duplex, _seat: Seat },
}

impl End for Instance {
    fn poll_take(&mut self, context: &mut Context<'_>, memory: &ReadMemory) -> Poll<io::Result<Bytes>> {
        match self {
            Self::Connection(lease) => lease.stream().poll_take(context, memory),
            Self::Stream { stream, .. } => stream.poll_take(context, memory),
        }
    }

    fn poll_put(&mut self, context: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        match self {
            Self::Connection(lease) => lease.stream().poll_put(context, bytes),
            Self::Stream { stream, .. } => stream.poll_put(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Connection(lease) => End::poll_flush(lease.stream(), context),
            Self::Stream { stream, .. } => stream.poll_flush(context),
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Connection(lease) => lease.stream().poll_end(context),
            Self::Stream { stream, .. } => stream.poll_end(context),
        }
    }
}
