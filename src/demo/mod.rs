//! The demo: a real small model, a server for it, clients, and the story of a good and a bad release.

mod clients;
mod command;
mod connections;
pub mod model;
mod server;

pub use command::serve_model;
pub use server::{MODEL_NAME, model_server};
