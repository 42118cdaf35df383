#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| snapback::fuzzing::request_head(bytes));
