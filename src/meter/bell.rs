//! The notice by which a worker wakes the evaluator.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::Thread,
};

use crate::time::Moment;

/// Wakes one thread, at the cost of a load when it has been rung already and not answered.
///
/// It remembers when it was first rung since the last answer: the earliest moment at which one of the responses may have
/// been counted that the listener is about to see.
#[derive(Debug, Default)]
pub struct Bell {
    /// The first ring since the last answer in nanoseconds; zero for none ([`crate::clock::now`] is never zero).
    rung_nanos: AtomicU64,
    listener: OnceLock<Thread>,
}

impl Bell {
    /// A bell that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the current thread the listener, once. It waits by `std::thread::park_timeout`.
    pub fn listen(&self) {
        self.listener.get_or_init(std::thread::current);
    }

    /// Wakes the listener, unless it has been woken and has not answered yet.
    ///
    /// A ring that finds an unanswered one orders nothing, so its response may be missed by the look that answers; the
    /// listener's next look, at most its parking time later, sees it.
    pub fn ring(&self, now: Moment) {
        if self.rung_nanos.load(Ordering::Relaxed) != 0 {
            return;
        }
        let nanos = now.as_nanos().max(1);
        let first = self.rung_nanos.compare_exchange(0, nanos, Ordering::Release, Ordering::Relaxed);
        if let (Ok(_), Some(listener)) = (first, self.listener.get()) {
            listener.unpark();
        }
    }

    /// When it was first rung since the last answer, if it was. The listener calls this before it reads the meters.
    pub fn answer(&self) -> Option<Moment> {
        match self.rung_nanos.swap(0, Ordering::AcqRel) {
            0 => None,
            nanos => Some(Moment::from_nanos(nanos)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_first_ring_since_the_last_answer() {
        let bell = Bell::new();
        assert_eq!(bell.answer(), None);
        bell.ring(Moment::from_nanos(5));
        bell.ring(Moment::from_nanos(7));
        assert_eq!(bell.answer(), Some(Moment::from_nanos(5)));
        assert_eq!(bell.answer(), None);
        bell.ring(Moment::from_nanos(9));
        assert_eq!(bell.answer(), Some(Moment::from_nanos(9)));
    }
}
