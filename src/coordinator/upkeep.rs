//! Keeps what is kept for looking back and for undo within its bounds: the history, and the files that commits displaced.
//!
//! It happens by itself, a little at a time: at most once in `cleanup_interval` some command does one bounded slice, after it
//! has answered. `cleanup` does all of it. Nothing in here is ever work that is staged, or landed and not merged.

use crate::coordinator::cleanup::{self, Cleaned, Displaced, Extent};
use crate::coordinator::{CleanupRequest, Coordinator, Error};
use crate::disk::lock::FileLock;
use crate::disk::{self, contained};
use crate::model::{TransactionId, WallTime};
use crate::store::Upkeep;
use crate::workspace::kept;

/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How many lines of the history a slice looks at, or how many rows.
const LINES_PER_SLICE: usize = 1024;

/// How many lines `cleanup` looks at while it keeps others out: some milliseconds.
const LINES_PER_TRIM: usize = 8192;

/// How many files of displaced objects a slice makes, and how many it removes.
const FILES_PER_SLICE: usize = 16;

impl Coordinator {
    /// Tells whether it is time that somebody tidies up a little. Costs one look at one file.
    pub fn cleanup_is_due(&self) -> Result<bool, Error> {
        let Some(stat) = contained::stat(&self.layout.cleaned())? else {
            return Ok(true);
        };
        let age_ms = i128::from(self.host.now().wall.ms) - stat.mtime_ns / 1_000_000;
        // A time to come is no time: somebody has set the clock.
        Ok(age_ms.unsigned_abs() >= u128::from(self.config.cleanup_interval_ms))
    }

    /// Tidies up a little, if it is due and nobody else is at it. To be called when a command has answered.
    pub fn cleanup_some(&mut self) -> Result<(), Error> {
        let Some(_lock) = FileLock::try_acquire(&self.layout.cleaned())? else {
            return Ok(());
        };
        if !self.cleanup_is_due()? {
            return Ok(());
        }
        disk::overwrite(&self.layout.cleaned(), b"\n")?;
        let mut cleaned = Cleaned::default();
        cleanup::directories(
            self,
            &Extent::some(FILES_PER_SLICE, Displaced::Keep),
            &mut cleaned,
        )?;
        let before = self.kept_since(None);
        drop_old_files(self, before, FILES_PER_SLICE, false, &mut cleaned)?;
        let lines_max = LINES_PER_SLICE;
        self.store.upkeep(&Upkeep::Trim { before, lines_max })?;
        self.store.upkeep(&Upkeep::Forget {
            before,
            rows_max: lines_max,
        })?;
        if self.config.compression {
            self.store.upkeep(&Upkeep::Pack)?;
        }
        make_room(self, 1, &mut cleaned)?;
        self.store.after_command();
        Ok(())
    }

    /// Returns the moment since which everything is kept.
    fn kept_since(&self, older_than_ms: Option<u64>) -> WallTime {
        let configured = i64::from(self.config.keep_days) * DAY_MS;
        let asked = older_than_ms.map(|span| i64::try_from(span).unwrap_or(i64::MAX));
        let span = asked.map_or(configured, |asked| asked.min(configured));
        WallTime {
            ms: self.host.now().wall.ms.saturating_sub(span),
        }
    }
}

/// Does everything there is to do.
pub(super) fn all(
    coordinator: &mut Coordinator,
    request: &CleanupRequest,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    let before = coordinator.kept_since(request.older_than_ms);
    let files_before = if request.force {
        coordinator.kept_since(Some(0))
    } else {
        before
    };
    drop_old_files(coordinator, files_before, usize::MAX, request.dry_run, cleaned)?;
    if request.older_than_ms.is_some() {
        drop_quarantine(coordinator, before, request.dry_run, cleaned)?;
    }
    if request.dry_run {
        return Ok(());
    }
    let lines_max = LINES_PER_TRIM;
    loop {
        match coordinator.store.upkeep(&Upkeep::Trim { before, lines_max })? {
            0 => break,
            lines => cleaned.events += lines,
        }
        coordinator.store.after_staging();
    }
    coordinator.store.upkeep(&Upkeep::Forget {
        before,
        rows_max: usize::MAX,
    })?;
    while coordinator.config.compression {
        match coordinator.store.upkeep(&Upkeep::Pack)? {
            0 => break,
            lines => cleaned.packed_events += lines,
        }
        coordinator.store.after_staging();
    }
    make_room(coordinator, usize::MAX, cleaned)
}

/// Removes files of displaced objects that are older than a moment.
fn drop_old_files(
    coordinator: &mut Coordinator,
    before: WallTime,
    limit: usize,
    dry_run: bool,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    let mut dropped = 0;
    for id in coordinator.layout.kept_ids()? {
        if dropped >= limit {
            break;
        }
        let path = coordinator.layout.kept_file(&id);
        // Between the two, one may stand in for the other; the directory goes first.
        let stat = contained::stat(&path)?;
        let is_old = stat.is_some_and(|stat| stat.mtime_ns / 1_000_000 <= i128::from(before.ms));
        if !is_old {
            continue;
        }
        if !dry_run {
            disk::remove_file_if_there(&path)?;
        }
        dropped += 1;
        cleaned.dropped.push(id);
    }
    Ok(())
}

/// Removes what lies in quarantine longer than since a moment.
fn drop_quarantine(
    coordinator: &Coordinator,
    before: WallTime,
    dry_run: bool,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    for name in disk::list(&coordinator.layout.quarantines())? {
        let path = coordinator.layout.quarantines().join(&name);
        let stat = contained::stat(&path)?;
        if stat.is_none_or(|stat| stat.mtime_ns / 1_000_000 > i128::from(before.ms)) {
            continue;
        }
        if !dry_run {
            disk::remove_any(&path)?;
        }
        cleaned.quarantines.push(name.to_string_lossy().into_owned());
    }
    Ok(())
}

/// Drops the oldest of whatever takes more room until all of it has enough, at most so many times.
fn make_room(coordinator: &mut Coordinator, limit: usize, cleaned: &mut Cleaned) -> Result<(), Error> {
    let bytes_max = u64::from(coordinator.config.max_mib) << 20;
    let mut files: Vec<(TransactionId, u64)> = Vec::new();
    for id in coordinator.layout.kept_ids()? {
        files.push((id, kept::file_bytes(&coordinator.layout.kept_file(&id))?));
    }
    let mut oldest = files.into_iter().peekable();
    let mut files_bytes: u64 = oldest.clone().map(|(_, bytes)| bytes).sum();
    for _ in 0..limit {
        let history_bytes = coordinator.store.history_bytes()?;
        if history_bytes + files_bytes <= bytes_max {
            return Ok(());
        }
        if files_bytes > history_bytes
            && let Some((id, bytes)) = oldest.next()
        {
            disk::remove_file_if_there(&coordinator.layout.kept_file(&id))?;
            cleaned.dropped.push(id);
            files_bytes -= bytes;
            continue;
        }
        match coordinator.store.upkeep(&Upkeep::DropOldest)? {
            0 => return Ok(()),
            lines => cleaned.events += lines,
        }
        coordinator.store.after_staging();
    }
    Ok(())
}
