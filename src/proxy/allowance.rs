//! How many connections to instances a worker may have.
//!
//! Each takes a descriptor, of which the process has so many, and some of them are for others: the admin port, the journal, health checks.
//! That clients' connections are bounded is not enough: over HTTP/2 each of a hundred requests on one of them may take a connection of its
//! own to an instance, and idle ones are kept beside those in use.

use std::{cell::Cell, io, rc::Rc};

use rustix::io::Errno;

use super::error::Failure;

/// What a worker may have, shared by all that make connections.
#[derive(Debug)]
pub(super) struct Allowance {
    most: usize,
    taken: Cell<usize>,
    /// Whether it was said that there is none left. Said again after it was half unused.
    is_told: Cell<bool>,
}

/// A connection's part of it, until dropped.
#[derive(Debug)]
pub(super) struct Place(Rc<Allowance>);

impl Allowance {
    pub(super) fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { most, taken: Cell::new(0), is_told: Cell::new(false) })
    }

    /// Whether there is nothing left of it.
    pub(super) fn is_spent(&self) -> bool {
        self.taken.get() >= self.most
    }

    /// To be taken before the connection is made.
    ///
    /// # Errors
    /// What the system itself would say a little later; it is not the instance's doing.
    pub(super) fn take(self: &Rc<Self>) -> Result<Place, Failure> {
        if self.is_spent() {
            if !self.is_told.replace(true) {
                tracing::warn!(
                    connections = self.most,
                    "a worker sheds requests: the limit on open files lets it have no more connections to instances; raise it (LimitNOFILE=, ulimit -n)"
                );
            }
            return Err(Failure::Exhausted(io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
        }
        self.taken.set(self.taken.get() + 1);
        Ok(Place(Rc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self(allowance) = self;
        let taken = allowance.taken.get().saturating_sub(1);
        allowance.taken.set(taken);
        if taken <= allowance.most / 2 {
            allowance.is_told.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_what_is_given_back_is_there_again() {
        let allowance = Allowance::new(2);
        let (first, _second) = (allowance.take().unwrap(), allowance.take().unwrap());
        assert!(allowance.is_spent() && matches!(allowance.take(), Err(Failure::Exhausted(_))));
        drop(first);
        assert!(!allowance.is_spent() && allowance.take().is_ok());
    }
}
