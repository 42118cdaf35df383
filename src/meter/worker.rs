//! What a worker counts that belongs to no fleet.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Rejections;

/// One worker's counters that belong to no fleet. Written by that worker alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMeters {
    /// Client connections accepted.
    pub accepted: Gauge,
    /// Client connections open now.
    pub connections: Gauge,
    /// Connections and streams open now that were upgraded, such as WebSockets.
    pub upgraded: Gauge,
    /// Connections handed to a less loaded worker.
    pub handed_over: Gauge,
    /// Connections refused because the worker holds as many as it may.
    pub refused: Gauge,
    /// Connections that ended in their TLS handshake, or took too long over it.
    pub handshakes_failed: Gauge,
    /// Connections that did not begin with the PROXY protocol header that they must begin with.
    pub proxy_headers_refused: Gauge,
    /// Requests that no endpoint matches.
    pub unmatched: Gauge,
    /// Requests that the proxy refused before they belonged to an endpoint's fleet.
    pub rejected: Rejections,
    /// Clients cut because they sent a request body, or took a response, too slowly.
    pub too_slow: Gauge,
    /// Requests shed because the worker had as many in flight as it may.
    pub shed: Gauge,
    /// Upstream connections made.
    pub upstream_connects: Gauge,
    /// Requests that ended in a panic, of which there is to be none.
    pub panicked: Gauge,
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn up(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// One fewer, not below zero.
    pub fn down(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// Now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
