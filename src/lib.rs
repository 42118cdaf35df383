//! Snapback.

pub mod admin;
pub mod alarm;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod fleet;
pub mod meter;
pub mod name;
pub mod provider;
pub mod proxy;
pub mod route;
pub mod shift;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod weight;
