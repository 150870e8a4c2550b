//! What `docs/store-contract.md` promises, for every store there is: one suite, run over SQLite and over memory.

mod bench;
mod commits;
mod formats;
mod leases;
mod locks;
mod processes;
mod queue;
mod same;
mod shares;
mod simulation;
