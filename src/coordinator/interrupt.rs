//! Ending a verb before its commit is decided, from another thread.

use crate::coordinator::{Coordinator, Error};
use crate::model::{Interrupter, TaskId};

impl Coordinator {
    /// Returns what ends the verbs of this coordinator while they wait for locks, from another thread. They answer
    /// [`Error::Interrupted`].
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// Lets `interrupter` end the verbs of this coordinator, in the place of the one that it was opened with.
    pub fn interrupted_by(&mut self, interrupter: Interrupter) {
        self.interrupter = interrupter;
    }

    /// Refuses to go on once somebody has interrupted.
    pub(super) fn refuse_interrupted(&self, task: &TaskId) -> Result<(), Error> {
        if self.interrupter.is_interrupted() {
            return Err(Error::Interrupted { task: task.clone() });
        }
        Ok(())
    }
}
