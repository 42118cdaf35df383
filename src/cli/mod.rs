//! The command line: its grammar, the commands that talk to an admin port, and the live view of a shift.

mod admin_url;
pub mod args;
mod client;
pub mod view;

pub use admin_url::{AdminUrl, AdminUrlError};
pub use args::{Args, ClientCommand, Command};
