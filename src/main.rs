//! The `snapback` command.

fn main() {}
