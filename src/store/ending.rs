//! The life of a transaction over rows: opened, filled, decided, ended.

use crate::model::{
    Change, EventKind, LockSet, RepoPath, Ticket, Token, TransactionId, TransactionState, UNDOES,
};
use crate::store::data::{Attempt, Decision, NewEvent, NewTransaction, Release, Transaction};
use crate::store::error::StoreError;
use crate::store::lease::{self, Lease};
use crate::store::rows::{Rows, TaskRow};

type Result<T> = std::result::Result<T, StoreError>;

/// Opens a transaction of a task.
pub(crate) fn open(rows: &mut dyn Rows, new: &NewTransaction) -> Result<Transaction> {
    if rows.task(&new.task)?.is_none_or(|task| task.lost) {
        return Err(StoreError::NoLease {
            task: new.task.clone(),
        });
    }
    let transaction = Transaction {
        id: new.id,
        task: new.task.clone(),
        state: TransactionState::Open,
        branch: new.branch.clone(),
        target: new.target.clone(),
        base: new.base,
        token: None,
        reference: None,
        old: None,
        new: None,
        manifest: None,
        began: rows.now().wall,
    };
    rows.put_transaction(&transaction)?;
    rows.event(&NewEvent {
        transaction: Some(new.id),
        ..NewEvent::about(EventKind::TaskBegan, &new.task)
    })?;
    Ok(transaction)
}

fn find(rows: &mut dyn Rows, id: &TransactionId) -> Result<Transaction> {
    rows.transaction(id)?.ok_or(StoreError::NoTransaction(*id))
}

/// Reads a transaction and checks that it may go to `to`.
fn stepping(rows: &mut dyn Rows, id: &TransactionId, to: TransactionState) -> Result<Transaction> {
    let transaction = find(rows, id)?;
    transaction.state.step(to).map_err(|step| StoreError::State {
        transaction: *id,
        step,
    })?;
    Ok(transaction)
}

/// Records and removes changes, and renews the lease.
pub(crate) fn edit_changes(
    rows: &mut dyn Rows,
    id: &TransactionId,
    put: &[Change],
    remove: &[RepoPath],
) -> Result<Lease> {
    let transaction = stepping(rows, id, TransactionState::Committing)?;
    let lease = lease::renew(rows, &transaction.task)?;
    if lease != Lease::Held {
        return Ok(lease);
    }
    for path in remove {
        rows.delete_change(id, path)?;
    }
    for change in put {
        rows.put_change(id, change)?;
    }
    for (kind, count) in [
        (EventKind::ChangeUnstaged, remove.len()),
        (EventKind::ChangeStaged, put.len()),
    ] {
        if count > 0 {
            let details = serde_json::Map::from_iter([("paths".to_owned(), count.into())]);
            let about = NewEvent::about(kind, &transaction.task);
            rows.event(&NewEvent {
                transaction: Some(*id),
                details,
                ..about
            })?;
        }
    }
    Ok(lease)
}

/// Begins a commit attempt under the task's newest token.
pub(crate) fn begin_commit(rows: &mut dyn Rows, id: &TransactionId, attempt: &Attempt) -> Result<Token> {
    let transaction = stepping(rows, id, TransactionState::Committing)?;
    let task = rows.task(&transaction.task)?.filter(|task| !task.lost);
    let token = task
        .ok_or_else(|| StoreError::NoLease {
            task: transaction.task.clone(),
        })?
        .token;
    rows.put_transaction(&Transaction {
        state: TransactionState::Committing,
        token: Some(token),
        reference: attempt.reference.clone(),
        old: attempt.old,
        new: attempt.new,
        manifest: None,
        ..transaction
    })?;
    Ok(token)
}

/// The commit point: checks that the token is the newest and that a write lock covers every path, and decides. Answers
/// whether it did.
pub(crate) fn decide(rows: &mut dyn Rows, decision: &Decision<'_>) -> Result<bool> {
    let transaction = stepping(rows, &decision.transaction, TransactionState::Decided)?;
    let Some(task) = rows.task(&transaction.task)? else {
        return Ok(false);
    };
    if task.lost || task.token != decision.token || transaction.token != Some(decision.token) {
        return Ok(false);
    }
    let held: LockSet = rows
        .locks_of(&task.id)?
        .into_iter()
        .map(|held| held.lock)
        .collect();
    if !decision.paths.iter().all(|path| held.covers_write(path)) {
        return Ok(false);
    }
    rows.put_transaction(&Transaction {
        state: TransactionState::Decided,
        manifest: Some(decision.manifest),
        ..transaction
    })?;
    rows.event(&NewEvent {
        transaction: Some(decision.transaction),
        token: Some(decision.token),
        ..NewEvent::about(EventKind::TaskDecided, &task.id)
    })?;
    Ok(true)
}

/// Moves a transaction without other consequences. Where it stands already is no step.
pub(crate) fn advance(rows: &mut dyn Rows, id: &TransactionId, to: TransactionState) -> Result<()> {
    if find(rows, id)?.state == to {
        return Ok(());
    }
    let transaction = stepping(rows, id, to)?;
    if to == TransactionState::Open {
        let about = NewEvent::about(EventKind::TaskAborted, &transaction.task);
        rows.event(&NewEvent {
            transaction: Some(*id),
            ..about
        })?;
    }
    rows.put_transaction(&Transaction {
        state: to,
        ..transaction
    })
}

/// Ends a transaction with its task and its locks, and serves the queue.
pub(crate) fn end(
    rows: &mut dyn Rows,
    id: &TransactionId,
    to: TransactionState,
    reason: Option<&str>,
) -> Result<Vec<Ticket>> {
    if find(rows, id)?.state == to {
        return Ok(Vec::new());
    }
    let transaction = stepping(rows, id, to)?;
    let task = transaction.task.clone();
    let row = rows.task(&task)?;
    let token = row.as_ref().map(|row| row.token);
    let kind = if to == TransactionState::Done {
        EventKind::TaskCommitted
    } else {
        EventKind::TaskRolledBack
    };
    rows.event(&NewEvent {
        transaction: Some(*id),
        token,
        reason: reason.map(ToOwned::to_owned),
        ..NewEvent::about(kind, &task)
    })?;
    if to == TransactionState::RolledBack {
        rows.delete_changes(id)?;
    } else if let Some(row) = row {
        tell_undone(rows, id, &row)?;
    }
    rows.put_transaction(&Transaction {
        state: to,
        ..transaction
    })?;
    let (_, _, wake) = lease::release(rows, &task, &Release::All)?;
    Ok(wake)
}

/// Says in the act that ends an undo what it has taken back.
fn tell_undone(rows: &mut dyn Rows, id: &TransactionId, task: &TaskRow) -> Result<()> {
    let named = task.metadata.get(UNDOES).and_then(serde_json::Value::as_str);
    let Some(undone) = named.and_then(|named| named.parse::<TransactionId>().ok()) else {
        return Ok(());
    };
    let by = serde_json::Map::from_iter([("by".to_owned(), id.to_string().into())]);
    rows.event(&NewEvent {
        transaction: Some(undone),
        details: by,
        ..NewEvent::about(EventKind::TaskUndone, &task.id)
    })
}
