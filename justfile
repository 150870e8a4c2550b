# Lists the recipes.
default:
    @just --list

# Everything that has to be green before a push: format, clippy, documentation, licences, tests.
check:
    .ci/run

# The tests, or those whose names contain the words given.
test *words:
    cargo test --all-features -- {{ words }}

# Line coverage, as pages in target/llvm-cov/html (needs cargo-llvm-cov).
cover:
    cargo llvm-cov --all-features --html

# The benchmarks beside their peers, or the one named.
bench *names:
    cargo bench --all-features -- {{ names }}
