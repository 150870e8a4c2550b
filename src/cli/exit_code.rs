//! How the process ends: one enum, which the table in the README repeats.

use std::process;

use mirror::model::Kind;

/// How the process ends. Agent hooks have codes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Everything that was asked for is done.
    Done = 0,
    /// The system failed, or a decided commit still has to be completed; the kind tells which.
    Failed = 1,
    /// The request makes no sense.
    Usage = 2,
    /// Others hold what was asked for.
    Held = 3,
    /// The task no longer holds what it held.
    Lost = 4,
    /// Something else changed the same thing.
    Conflict = 5,
    /// A command or a validation said no, or somebody interrupted it without a signal.
    Rejected = 6,
    /// The state of the repository is damaged.
    Damaged = 7,
    /// Our own fault.
    Bug = 70,
}

/// One line of the table: the code, the kinds that end in it, and when.
struct Row {
    code: ExitCode,
    kinds: &'static [Kind],
    when: &'static str,
}

const TABLE: [Row; 11] = [
    Row {
        code: ExitCode::Done,
        kinds: &[],
        when: "done",
    },
    Row {
        code: ExitCode::Failed,
        kinds: &[Kind::Failed],
        when: "the system failed (I/O, permissions, store unreachable); nothing changed",
    },
    Row {
        code: ExitCode::Failed,
        kinds: &[Kind::Pending, Kind::Unknown],
        when: "the commit is decided and recovery will complete it; or recovery will settle whether it is",
    },
    Row {
        code: ExitCode::Usage,
        kinds: &[Kind::Usage],
        when: "bad arguments, bad path, unknown task",
    },
    Row {
        code: ExitCode::Held,
        kinds: &[Kind::Held, Kind::Deadlock],
        when: "others hold it; the wait ran out",
    },
    Row {
        code: ExitCode::Lost,
        kinds: &[Kind::Lost],
        when: "the lease was taken by another, or the token is old",
    },
    Row {
        code: ExitCode::Conflict,
        kinds: &[Kind::Conflict],
        when: "a base changed, a merge conflict, user changes in the way, a change outside the lock set",
    },
    Row {
        code: ExitCode::Rejected,
        kinds: &[Kind::Rejected],
        when: "the command or the validation failed; rolled back",
    },
    Row {
        // For those that no signal has interrupted, or that cannot end by it.
        code: ExitCode::Rejected,
        kinds: &[Kind::Interrupted],
        when: "interrupted before the commit was decided; after a signal it ends by that signal instead, which a shell shows as 128 and its number",
    },
    Row {
        code: ExitCode::Damaged,
        kinds: &[Kind::Damaged],
        when: "checksum mismatch, corrupt state: read `mirror doctor`",
    },
    Row {
        code: ExitCode::Bug,
        kinds: &[Kind::Bug],
        when: "our fault",
    },
];

impl From<Kind> for ExitCode {
    fn from(kind: Kind) -> Self {
        let row = TABLE.iter().find(|row| row.kinds.contains(&kind));
        row.map_or(Self::Bug, |row| row.code)
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Returns the table for `--help` and the manual page.
pub(crate) fn help() -> String {
    let rows = TABLE.iter().map(|row| {
        format!(
            "  {:>2}  {}: {}\n",
            row.code as u8,
            words(row.kinds, ""),
            row.when
        )
    });
    let rows: String = rows.collect();
    format!("Exit codes:\n{}", rows.replace("  : ", "  "))
}

fn words(kinds: &[Kind], quote: &str) -> String {
    let words: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{quote}{}{quote}", kind.as_str()))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_in_the_table_once() {
        for kind in Kind::ALL {
            let rows = TABLE.iter().filter(|row| row.kinds.contains(&kind));
            assert_eq!(rows.count(), 1, "{kind:?}");
        }
        assert_eq!(ExitCode::from(Kind::Deadlock) as u8, 3);
        assert_eq!(ExitCode::from(Kind::Unknown) as u8, 1);
        assert_eq!(ExitCode::from(Kind::Bug) as u8, 70);
    }
}
