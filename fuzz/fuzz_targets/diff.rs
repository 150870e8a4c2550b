#![no_main]

mod shared;

use std::sync::LazyLock;

static SCRATCH: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a directory is made"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::bodies::diff(SCRATCH.path(), bytes));
