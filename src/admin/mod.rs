//! The admin port: native API, events, metrics, health.

pub mod wire;
