//! The ports that instances of this process have: two that start at the same moment must not be given the same.

use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::launch::{free_port, is_taken};

/// The ports in use.
#[derive(Debug, Default)]
pub(super) struct Ports(Mutex<BTreeSet<u16>>);

impl Ports {
    /// A free port.
    pub(super) fn take(&self) -> io::Result<u16> {
        let mut ports = self.lock();
        let port = free_port(|port| ports.contains(&port))?;
        ports.insert(port);
        Ok(port)
    }

    /// This port, if nobody listens on it; else another.
    pub(super) fn take_again(&self, port: u16) -> io::Result<u16> {
        if !is_taken(port) {
            self.claim(port);
            return Ok(port);
        }
        let other = self.take()?;
        self.release(port);
        Ok(other)
    }

    /// This port, which an instance listens on already.
    pub(super) fn claim(&self, port: u16) {
        self.lock().insert(port);
    }

    pub(super) fn release(&self, port: u16) {
        self.lock().remove(&port);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
