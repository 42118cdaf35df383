//! The admin port: native API, events, metrics, health, dashboard.
//!
//! A request passes the `layers`, its handler takes it apart with the extractors of `extract`, asks control, and turns the view that it
//! gets into a representation ([`wire`]) by `represent`; whatever goes wrong on the way becomes a problem document by the one table in
//! `problem`. Paths are in `routes`, and described in `openapi.json`.

// Bytes from the network can never panic.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod access;
mod actor;
mod alarm_wire;
mod alarms;
mod audit;
mod aws;
mod caller;
mod cloudwatch;
mod counted;
mod dashboard;
mod endpoints;
mod events;
mod explain;
mod explain_rolling;
mod extract;
mod feed;
mod forecast;
mod freeze;
mod glances;
mod health;
mod history;
mod identities;
mod lasting;
mod layers;
mod live;
mod log;
mod observe;
mod operate;
mod pace;
mod played;
mod problem;
mod queue;
mod recording;
mod refusals;
mod represent;
mod roles;
mod routes;
pub mod sagemaker;
mod scale;
mod series;
mod serve;
mod shifts;
mod standing;
mod state;
mod tokens;
mod trail;
mod undo;
mod webhooks;
mod weights;
pub mod wire;
mod words;

#[cfg(test)]
mod tests;

pub use aws::{runtime::Inlet, secrets::read_secrets};
pub use events::event_json;
pub use serve::serve;
pub use state::Admin;
pub use tokens::{Tokens, TokensError};
