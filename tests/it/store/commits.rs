//! Transactions and the decision: S3, S14, S15, S18.

use std::time::Duration;

use mirror::model::{Digest, RepoPath, TransactionState};
use mirror::store::{Attempt, DecideError, Decision, LeaseError, Steal, StoreError, Transaction};

use super::bench::{Bench, everywhere, lock, task};

fn begun(bench: &mut Bench) -> (Transaction, mirror::model::Token) {
    bench.begin("agent", &["w:a", "w:d/"]).unwrap();
    let transaction = bench.open("agent");
    let token = bench
        .store
        .begin_commit(&transaction.id, &Attempt::default())
        .unwrap();
    (transaction, token)
}

fn decide(
    bench: &mut Bench,
    transaction: &Transaction,
    token: mirror::model::Token,
    paths: &[&str],
) -> Result<(), DecideError> {
    let paths: Vec<RepoPath> = paths.iter().map(|path| RepoPath::new(*path).unwrap()).collect();
    bench.store.decide(&Decision {
        transaction: transaction.id,
        token,
        manifest: Digest::from_bytes([7; 32]),
        paths: &paths,
    })
}

fn state(bench: &mut Bench, transaction: &Transaction) -> TransactionState {
    bench.store.transaction(&transaction.id).unwrap().unwrap().state
}

#[test]
fn a_commit_goes_from_open_to_done_and_frees_its_locks() {
    everywhere(|bench| {
        let (transaction, token) = begun(bench);
        assert_eq!(bench.store.unfinished().unwrap().len(), 1);
        decide(bench, &transaction, token, &["a", "d/x/y"]).unwrap();
        bench.reopen();
        assert_eq!(state(bench, &transaction), TransactionState::Decided);
        let row = bench.store.transaction(&transaction.id).unwrap().unwrap();
        assert_eq!(row.manifest, Some(Digest::from_bytes([7; 32])));
        bench.store.finish(&transaction.id).unwrap();
        bench.store.finish(&transaction.id).unwrap();
        assert_eq!(state(bench, &transaction), TransactionState::Done);
        assert!(bench.held().is_empty() && bench.store.unfinished().unwrap().is_empty());
        assert!(bench.store.current_transaction(&task("agent")).unwrap().is_none());
    });
}

#[test]
fn a_decision_needs_every_write_lock_and_the_token_of_its_attempt() {
    everywhere(|bench| {
        let (transaction, token) = begun(bench);
        assert!(matches!(
            decide(bench, &transaction, token, &["a", "b"]),
            Err(DecideError::Lost)
        ));
        let old = mirror::model::Token::new(token.get() - 1);
        assert!(matches!(
            decide(bench, &transaction, old, &["a"]),
            Err(DecideError::Lost)
        ));
        assert_eq!(state(bench, &transaction), TransactionState::Committing);
        bench.store.abort(&transaction.id).unwrap();
        assert!(
            decide(bench, &transaction, token, &["a"]).is_err(),
            "what is given up stays so"
        );
        bench.store.reopen(&transaction.id).unwrap();
        assert_eq!(state(bench, &transaction), TransactionState::Open);
        assert_eq!(bench.held().len(), 2, "an attempt that fails keeps its locks");
    });
}

#[test]
fn a_commit_under_way_is_neither_reaped_nor_robbed() {
    everywhere(|bench| {
        let (transaction, token) = begun(bench);
        bench.machine.pass(Duration::from_hours(2));
        assert!(bench.begin("other", &["w:a"]).is_err());
        let steal = Steal {
            from: None,
            resources: vec![lock("w:a").resource],
            by: "other".to_owned(),
            reason: "impatient".to_owned(),
        };
        bench.store.steal(&steal).unwrap();
        assert_eq!(bench.held().len(), 2);
        decide(bench, &transaction, token, &["a"]).unwrap();
        bench.machine.reboot();
        assert!(
            bench.begin("other", &["w:a"]).is_err(),
            "recovery has to finish it first"
        );
        bench.store.finish(&transaction.id).unwrap();
        bench.begin("other", &["w:a"]).unwrap();
    });
}

#[test]
fn who_lost_the_lease_neither_stages_nor_commits() {
    everywhere(|bench| {
        bench.begin("agent", &["w:a"]).unwrap();
        let transaction = bench.open("agent");
        bench.machine.pass(Duration::from_mins(2));
        bench.begin("other", &["w:a"]).unwrap();
        let staged = bench.store.edit_changes(&transaction.id, &[], &[]);
        assert!(matches!(staged, Err(LeaseError::Lost)), "{staged:?}");
        let begun = bench.store.begin_commit(&transaction.id, &Attempt::default());
        assert!(matches!(begun, Err(StoreError::NoLease { .. })), "{begun:?}");
        bench.store.roll_back(&transaction.id).unwrap();
        assert_eq!(state(bench, &transaction), TransactionState::RolledBack);
    });
}

#[test]
fn a_step_that_is_not_in_the_table_is_refused() {
    everywhere(|bench| {
        bench.begin("agent", &["w:a"]).unwrap();
        let transaction = bench.open("agent");
        assert!(bench.store.finish(&transaction.id).is_err());
        assert_eq!(state(bench, &transaction), TransactionState::Open);
        bench.store.roll_back(&transaction.id).unwrap();
        assert!(
            bench
                .store
                .begin_commit(&transaction.id, &Attempt::default())
                .is_err()
        );
    });
}

#[test]
fn a_store_keeps_its_name() {
    everywhere(|bench| {
        let name = bench.store.identity().unwrap();
        assert_ne!(name, "");
        bench.begin("agent", &["w:a"]).unwrap();
        bench.reopen();
        assert_eq!(bench.store.identity().unwrap(), name);
    });
}
