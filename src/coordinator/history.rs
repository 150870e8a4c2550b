//! `history` and `log`: what happened, and what happens.

use crate::coordinator::{Coordinator, Error};
use crate::model::{Event, TaskId, WallTime};

/// How many events are read from the store at once.
const PAGE: usize = 1000;

/// How many events are read from the store at least when the newest are looked for.
const PAGE_MIN: usize = 100;

/// A place in what happened, from which [`Coordinator::history_page`] goes on.
#[derive(Debug)]
pub struct History {
    filter: HistoryFilter,
    after: u64,
    last: u64,
}

/// Which events are wanted. Every condition narrows the answer.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// Only those of this task.
    pub task: Option<TaskId>,
    /// Only those that happened at this moment or later.
    pub since: Option<WallTime>,
    /// Only the newest so many; `None` means all.
    pub newest: Option<usize>,
}

impl HistoryFilter {
    /// Tells whether `event` meets every condition on single events.
    pub fn accepts(&self, event: &Event) -> bool {
        self.task
            .as_ref()
            .is_none_or(|task| event.task.as_ref() == Some(task))
            && self.since.is_none_or(|since| event.at >= since)
    }
}

impl Coordinator {
    /// Begins to read what happened. The newest are found from the end, and a long history is read in pages: it need
    /// not fit into memory.
    pub fn history(&mut self, filter: HistoryFilter) -> Result<History, Error> {
        let last = self.store.last_event()?;
        let after = match filter.newest {
            Some(newest) => self.before_newest(&filter, newest, last)?,
            None => 0,
        };
        Ok(History { filter, after, last })
    }

    /// Returns the next events of `history`, some thousand at most, the oldest first; none when it is over.
    pub fn history_page(&mut self, history: &mut History) -> Result<Vec<Event>, Error> {
        let mut page = Vec::new();
        while page.len() < PAGE && history.after < history.last {
            let events = self.store.events(history.after, PAGE)?;
            history.after = events.last().map_or(history.last, |event| event.seq);
            let wanted = |event: &Event| event.seq <= history.last && history.filter.accepts(event);
            page.extend(events.into_iter().filter(wanted));
        }
        Ok(page)
    }

    /// Finds the place before the newest so many events that `filter` accepts.
    fn before_newest(&mut self, filter: &HistoryFilter, newest: usize, last: u64) -> Result<u64, Error> {
        let mut before = last + 1;
        let mut missing = newest;
        let mut limit = newest.clamp(PAGE_MIN, PAGE);
        while missing > 0 {
            let page = self.store.events_before(before, limit)?;
            // Where few are accepted, many have to be read.
            limit = PAGE;
            let Some(oldest) = page.last() else { return Ok(0) };
            before = oldest.seq;
            let mut accepted = page.iter().filter(|event| filter.accepts(event));
            if let Some(first) = accepted.nth(missing - 1) {
                return Ok(first.seq - 1);
            }
            missing -= page.iter().filter(|event| filter.accepts(event)).count();
        }
        Ok(last)
    }

    /// Returns at most `limit` events that came after the one numbered `seq`, the oldest first.
    pub fn events_after(&mut self, seq: u64, limit: usize) -> Result<Vec<Event>, Error> {
        Ok(self.store.events(seq, limit)?)
    }

    /// Returns the number of the newest event, 0 when nothing has happened yet.
    pub fn last_event(&mut self) -> Result<u64, Error> {
        Ok(self.store.last_event()?)
    }
}
