//! The demo: a real small model, a server for it, clients, and the story of a good and a bad release.

mod command;
pub mod model;
mod server;

pub use command::{ListenError, run_model_server};
pub use server::{MODEL_NAME, model_server};
