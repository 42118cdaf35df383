//! The `snapback` command: reads its arguments and calls the part that does the work.

use std::process::ExitCode;

use clap::Parser;
use snapback::{
    app,
    cli::{self, Args, Command},
    demo,
};

fn main() -> ExitCode {
    cli::complete();
    match Args::parse().command {
        Command::Serve(serve) => app::serve(&serve.config),
        Command::ModelServer(server) => demo::serve_model(server.version.as_str(), server.listen),
        Command::Client(command) => cli::run(*command),
        Command::Demo(demo) => demo::run(&demo),
    }
}

// A request makes some twenty small allocations that die with it. mimalloc takes 4 % off the proxy's CPU time per request against
// glibc's allocator (benches/README.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
