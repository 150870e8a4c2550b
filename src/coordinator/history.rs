//! `history` and `log`: what happened, and what happens.

use std::collections::VecDeque;

use crate::coordinator::{Coordinator, Error};
use crate::model::{Event, TaskId, WallTime};

/// How many events are read from the store at once.
const PAGE: usize = 1000;

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
    /// Returns what happened, the oldest first.
    pub fn history(&mut self, filter: &HistoryFilter) -> Result<Vec<Event>, Error> {
        let mut kept = VecDeque::new();
        let mut after = 0;
        loop {
            let page = self.store.events(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for event in page.into_iter().filter(|event| filter.accepts(event)) {
                kept.push_back(event);
                if filter.newest.is_some_and(|newest| kept.len() > newest) {
                    kept.pop_front();
                }
            }
        }
        Ok(kept.into())
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
