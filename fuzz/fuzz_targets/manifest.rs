#![no_main]

mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    shared::bodies::manifest(bytes);
    // A checksum that holds lets the input through to the parser of the body.
    shared::bodies::manifest_body(bytes);
});
