//! The `snapback` command: reads its arguments and calls the part that does the work.

use std::process::ExitCode;

use clap::Parser;
use snapback::{
    app,
    cli::{Args, Command},
};

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Serve(serve) => app::serve(&serve.config),
        Command::Demo(_) | Command::ModelServer(_) | Command::Client(_) => ExitCode::FAILURE,
    }
}
