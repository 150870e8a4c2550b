//! Repositories that are awkward on purpose: one shell script each in `fixtures/repos`.

use super::project;
use super::sandbox::Sandbox;

/// A kind of repository that exists in the wild and that careless code gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awkward {
    /// Objects are named by SHA-256.
    Sha256,
    /// Refs are kept in a table.
    Reftable,
    /// The index is in two files.
    SplitIndex,
    /// Most files are not checked out.
    SparseCheckout,
    /// The index knows some directories only as a whole.
    SparseIndex,
    /// Objects are fetched when they are needed. The remote is `upstream` beside the working directory.
    PartialClone,
    /// Without a working tree.
    Bare,
    /// Spaces, quotes, newlines, bytes that are not UTF-8, glob characters, a leading dash.
    OddNames,
    /// Line ends, idents and filters that change content on its way in and out.
    Conversions,
    /// Empty, binary, executable files and symlinks; a symlink to a directory.
    EveryKind,
    /// With a submodule in `sub` and a nested repository in `nested`.
    Submodule,
    /// A merge that stopped in a conflict.
    MergeInProgress,
    /// A linked worktree at `linked` beside the working directory, on the branch `other`.
    LinkedWorktree,
}

impl Awkward {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::Sha256,
        Self::Reftable,
        Self::SplitIndex,
        Self::SparseCheckout,
        Self::SparseIndex,
        Self::PartialClone,
        Self::Bare,
        Self::OddNames,
        Self::Conversions,
        Self::EveryKind,
        Self::Submodule,
        Self::MergeInProgress,
        Self::LinkedWorktree,
    ];

    /// Makes one, in a sandbox of its own.
    pub(crate) fn build(self) -> Sandbox {
        let sandbox = Sandbox::directory();
        let script = project("fixtures/repos").join(self.script());
        sandbox
            .program("sh")
            .args(["-eu".as_ref(), script.as_os_str()])
            .run()
            .succeeded();
        sandbox
    }

    /// Returns the name of its script in `fixtures/repos`.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256.sh",
            Self::Reftable => "reftable.sh",
            Self::SplitIndex => "split-index.sh",
            Self::SparseCheckout => "sparse-checkout.sh",
            Self::SparseIndex => "sparse-index.sh",
            Self::PartialClone => "partial-clone.sh",
            Self::Bare => "bare.sh",
            Self::OddNames => "odd-names.sh",
            Self::Conversions => "conversions.sh",
            Self::EveryKind => "every-kind.sh",
            Self::Submodule => "submodule.sh",
            Self::MergeInProgress => "merge-in-progress.sh",
            Self::LinkedWorktree => "linked-worktree.sh",
        }
    }
}
