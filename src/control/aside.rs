//! Work that waits for a disk or computes for long, away from the tasks that must not be kept waiting.

use tokio::task::{JoinError, spawn_blocking};

/// Does work on a thread that may block, and waits for it. An error means that it panicked, or that the runtime is ending.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(test)]
    if simulated::is_on() {
        return Ok(work());
    }
    spawn_blocking(work).await
}

/// A simulation has one thread: with two, which comes first would be the system's choice, and no run like the one before.
#[cfg(test)]
pub(super) mod simulated {
    use std::cell::Cell;

    thread_local! {
        static IS_ON: Cell<bool> = const { Cell::new(false) };
    }

    /// Work is done on this thread, where it is asked for, from now on.
    pub(in crate::control) fn begin() {
        IS_ON.set(true);
    }

    pub(super) fn is_on() -> bool {
        IS_ON.get()
    }
}
