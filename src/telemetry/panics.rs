//! A panic as a line of the log.

use std::{any::Any, panic, thread};

/// Writes panics to the log from now on, one line each with where and why, instead of as text between its lines.
pub(super) fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        let thread = thread.name().unwrap_or_default();
        tracing::error!(reason = reason(panic.payload()), place, thread, "the proxy's own code failed");
    }));
}

/// What `panic!` was given.
fn reason(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panics_words_are_its_reason() {
        assert_eq!(reason(&"fixed"), "fixed");
        assert_eq!(reason(&format!("made {}", 1)), "made 1");
        assert_eq!(reason(&7), "");
    }
}
