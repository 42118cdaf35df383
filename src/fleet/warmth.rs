//! How far an instance has got with its first requests.
//!
//! Written by every worker that deals to the instance, but only while it warms up: afterwards it is read alone, and by nobody where no plan
//! asks for a warm-up. What belongs to it is settled when a request is dealt, before anything can be known of its end, so that leaving
//! it out of a comparison chooses nothing.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::time::Moment;

/// An instance's first requests.
#[derive(Debug, Default)]
pub struct Warmth {
    dealt: AtomicU32,
    /// When the first was dealt; zero for never.
    first_nanos: AtomicU64,
}

impl Warmth {
    /// Whether the request that is dealt now is among the first so many. To be asked once for each.
    pub fn is_among_first(&self, requests: u32) -> bool {
        self.dealt.load(Relaxed) < requests && self.dealt.fetch_add(1, Relaxed) < requests
    }

    /// Whether the request that is dealt now comes within this time of the first.
    pub fn is_within(&self, span: Duration, now: Moment) -> bool {
        let known = self.first_nanos.load(Relaxed);
        let first = if known > 0 {
            known
        } else {
            let nanos = now.as_nanos().max(1);
            self.first_nanos
                .compare_exchange(0, nanos, Relaxed, Relaxed)
                .map_or_else(|others| others, |_| nanos)
        };
        now.since(Moment::from_nanos(first)) < span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_so_many_belong_to_it_and_no_more() {
        let warmth = Warmth::default();
        let among: Vec<bool> = (0..5).map(|_| warmth.is_among_first(3)).collect();
        assert_eq!(among, [true, true, true, false, false]);
        assert!(!Warmth::default().is_among_first(0));
    }

    #[test]
    fn the_first_while_is_counted_from_the_first_request() {
        let (warmth, span) = (Warmth::default(), Duration::from_nanos(10));
        let within: Vec<bool> =
            [100, 105, 109, 110, 500].map(|now| warmth.is_within(span, Moment::from_nanos(now))).into();
        assert_eq!(within, [true, true, true, false, false]);
    }
}
