//! The notice by which a worker wakes the evaluator.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
};

/// Wakes one thread, at the cost of a load when it has been rung already and not answered.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
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
    pub fn ring(&self) {
        if !self.rung.load(Ordering::Relaxed) {
            self.rung.store(true, Ordering::Release);
            if let Some(listener) = self.listener.get() {
                listener.unpark();
            }
        }
    }

    /// Whether it was rung since the last answer. The listener calls this before it reads the meters.
    pub fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}
