//! Tells why the working tree does not hold what a run began from: what is not committed can be put away, what others have committed
//! cannot, and somebody may have checked out something else.

use std::collections::BTreeSet;

use crate::coordinator::{Coordinator, Error, RunRefusal, clean, look};
use crate::model::{ObjectId, RepoPath};

impl Coordinator {
    /// Says of paths that a run was overtaken in that others have committed them since `base`, if that is so. What cannot be told now stays as
    /// it was said.
    pub(super) fn committed_instead(&self, error: Error, base: Option<ObjectId>) -> Error {
        let Error::Run(RunRefusal::Overtaken { paths }) = error else {
            return error;
        };
        let uncommitted = self.uncommitted(&paths).unwrap_or_else(|worse| {
            tracing::debug!(error = %worse, "who has overtaken the run is not known");
            paths.clone()
        });
        if !uncommitted.is_empty() {
            RunRefusal::Overtaken { paths: uncommitted }.into()
        } else if self.has_switched(base).unwrap_or(false) {
            RunRefusal::SwitchedSince { paths }.into()
        } else {
            RunRefusal::CommittedSince { paths }.into()
        }
    }

    /// Tells whether what is checked out does not come after `base`.
    fn has_switched(&self, base: Option<ObjectId>) -> Result<bool, Error> {
        let (Some(git), Some(base)) = (&self.git, base) else {
            return Ok(false);
        };
        match git.head()?.tip() {
            Some(tip) => Ok(!git.is_ancestor(base, tip)?),
            None => Ok(true),
        }
    }

    /// Finds which of `paths` hold what no commit records.
    fn uncommitted(&self, paths: &[RepoPath]) -> Result<Vec<RepoPath>, Error> {
        let Some(git) = &self.git else {
            return Ok(paths.to_vec());
        };
        let seen = look::look(&self.root, paths, &BTreeSet::new())?;
        let recorded = git.entries(git.head()?.tip(), paths)?;
        match clean::refuse_user_changes(self, git, &seen, &recorded) {
            Ok(_) => Ok(Vec::new()),
            Err(Error::InTheWay { paths, .. }) => Ok(paths),
            Err(error) => Err(error),
        }
    }
}
