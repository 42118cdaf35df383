//! Longer texts about the whole, for whoever asks what holds and how that is known.

#[doc = include_str!("shifts.md")]
pub mod shifts {}

#[doc = include_str!("hardening.md")]
pub mod hardening {}

#[doc = include_str!("tokens.md")]
pub mod tokens {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("comparison.md")]
pub mod comparison {}

#[doc = include_str!("access-log.md")]
pub mod access_log {}

#[doc = include_str!("statistics.md")]
pub mod statistics {}

#[doc = include_str!("traces.md")]
pub mod traces {}

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("apply.md")]
pub mod apply {}
