//! The demo: a real small model, a server for it, clients, and the story of a good and a bad release.
//!
//! `run` sets the stage (`stage`: model servers in `fleets`, the proxy, the clients) and has the `story` played on it: an operator
//! (`operator`) uses the admin port as anybody would, `show` shows the shifts, and `report` says whether the story really happened.
//! Nothing in it is staged but the time that an answer takes (`server::pace`): v3 fails since its vocabulary lost its digits.

mod clients;
mod command;
mod connections;
mod fleets;
pub mod model;
mod operator;
mod plans;
mod report;
mod run;
mod server;
mod show;
mod stage;
mod story;

pub use command::serve_model;
pub use run::run;
pub use server::{MODEL_NAME, model_server};
