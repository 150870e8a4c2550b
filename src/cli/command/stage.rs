//! `mirror stage`

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum};
use mirror::coordinator::{Error, StageRequest, StageWhat};
use mirror::model::shown;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::{ChangeDocument, ChangesDocument};
use crate::cli::error::UsageError;
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::text::{self, counted};

const EXAMPLES: &str = "\
Examples:
  mirror stage -t agent-1 src/parser.rs --from /tmp/new.rs
  sed s/foo/bar/ src/parser.rs | mirror stage -t agent-1 src/parser.rs
  git diff | mirror stage -t agent-1 --patch -
  mirror stage -t agent-1 --tree /tmp/copy         every difference between a copy and the repository
  mirror stage -t agent-1 --move src/old.rs src/new.rs
  mirror stage -t agent-1 --delete src/dead.rs --chmod +x run.sh";

/// Take changes in, to be applied by the commit: nothing that others can see is touched
///
/// The content of PATH comes from standard input, or from the file that --from names. Paths have to be locked for
/// writing, unless --lock takes the locks on the way. One call stages all of its changes or none.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Stage {
    #[command(flatten)]
    task: TaskArgument,

    /// The path to change
    #[arg(value_name = "PATH")]
    path: Option<OsString>,

    /// Take the content of PATH from this file; - is standard input
    #[arg(long, value_name = "FILE", requires = "path")]
    from: Option<PathBuf>,

    /// Make PATH a symlink to this
    #[arg(long, value_name = "TARGET", requires = "path", conflicts_with = "from")]
    symlink: Option<OsString>,

    /// Give PATH the exec bit, or take it away; without it, it stays as it is
    #[arg(long, value_name = "BOOL", requires = "path", conflicts_with = "symlink", num_args = 0..=1,
        default_missing_value = "true")]
    executable: Option<bool>,

    /// Delete a path; a directory stands for all files below it
    #[arg(long, value_name = "PATH")]
    delete: Vec<OsString>,

    /// Move a path
    #[arg(long = "move", value_names = ["FROM", "TO"], num_args = 2, action = ArgAction::Append)]
    moves: Vec<OsString>,

    /// Change nothing but the exec bit
    #[arg(long, value_names = ["+x|-x", "PATH"], num_args = 2, action = ArgAction::Append, allow_hyphen_values = true)]
    chmod: Vec<OsString>,

    /// Apply a unified diff, with git's extensions; - is standard input
    #[arg(long, value_name = "FILE")]
    patch: Vec<PathBuf>,

    /// Take every difference between this directory and what the task sees
    #[arg(long, value_name = "DIR")]
    tree: Vec<PathBuf>,

    /// Take the write locks that are missing
    #[arg(long)]
    lock: bool,
}

/// The two things that can be done to an exec bit.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bit {
    #[value(name = "+x")]
    Set,
    #[value(name = "-x")]
    Clear,
}

impl Stage {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let task = self.task.required(&context.environment)?;
        let lock = self.lock;
        let mut coordinator = context.coordinator()?;
        let request = StageRequest {
            what: self.what(context)?,
            lock,
        };
        let staged = coordinator.stage(&task, request, &mut Narrator::new(context.output))?;
        let document = ChangesDocument {
            task: task.clone(),
            transaction: staged.transaction,
            changes: ChangeDocument::all(&staged.changes),
        };
        context.output.done(&document, || {
            if staged.changes.is_empty() {
                return "Nothing staged: the paths hold this already.".to_owned();
            }
            let changes = counted(staged.changes.len(), "change");
            format!("Staged {changes} for {task}:\n{}", text::changes(&staged.changes))
        })?;
        Ok(ExitCode::Done)
    }

    fn what(self, context: &Context) -> anyhow::Result<Vec<StageWhat>> {
        let base = context.directory()?;
        let mut input = Input::default();
        let mut what = Vec::new();
        if let Some(path) = self.path {
            what.push(match (self.symlink, self.from) {
                (Some(target), _) => StageWhat::Symlink { path, target },
                (None, Some(from)) if !is_standard_input(&from) => StageWhat::File {
                    path,
                    from: base.join(from),
                    executable: self.executable,
                },
                (None, _) => StageWhat::Bytes {
                    path,
                    content: Box::new(input.take()?),
                    executable: self.executable,
                },
            });
        }
        for path in self.delete {
            what.push(StageWhat::Delete { path });
        }
        for (from, to) in pairs(self.moves) {
            what.push(StageWhat::Move { from, to });
        }
        for (bit, path) in pairs(self.chmod) {
            what.push(StageWhat::Chmod {
                path,
                executable: executable(&bit)?,
            });
        }
        for file in self.patch {
            what.push(StageWhat::Patch {
                diff: input.read(&base, &file)?,
            });
        }
        for dir in self.tree {
            what.push(StageWhat::Tree { dir: base.join(dir) });
        }
        if what.is_empty() {
            let hint = "Name a path, or use --patch, --tree, --delete, --move or --chmod; `mirror stage --help` shows how";
            return Err(UsageError::new("Nothing to stage is named", hint).into());
        }
        Ok(what)
    }
}

/// Standard input, which can be taken once.
#[derive(Default)]
struct Input {
    is_taken: bool,
}

impl Input {
    fn take(&mut self) -> anyhow::Result<io::Stdin> {
        if self.is_taken {
            let hint = "Give the other one a file";
            return Err(UsageError::new("Standard input cannot be read twice", hint).into());
        }
        self.is_taken = true;
        // A person who forgot --from would sit before a command that seems to hang.
        if io::stdin().is_terminal() {
            let hint = "Add --from FILE, or send the content: `mirror stage PATH < FILE`";
            return Err(UsageError::new("The new content is missing", hint).into());
        }
        Ok(io::stdin())
    }

    fn read(&mut self, base: &Path, file: &Path) -> anyhow::Result<Vec<u8>> {
        if is_standard_input(file) {
            let mut bytes = Vec::new();
            self.take()?
                .read_to_end(&mut bytes)
                .map_err(|source| Error::Input {
                    path: file.to_owned(),
                    source,
                })?;
            return Ok(bytes);
        }
        let bytes = fs::read(base.join(file));
        Ok(bytes.map_err(|source| Error::Input {
            path: file.to_owned(),
            source,
        })?)
    }
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

fn pairs(words: Vec<OsString>) -> impl Iterator<Item = (OsString, OsString)> {
    let mut words = words.into_iter();
    std::iter::from_fn(move || Some((words.next()?, words.next()?)))
}

fn executable(typed: &OsString) -> anyhow::Result<bool> {
    match typed.to_str().map(|text| Bit::from_str(text, false)) {
        Some(Ok(Bit::Set)) => Ok(true),
        Some(Ok(Bit::Clear)) => Ok(false),
        _ => {
            let message = format!("{} is neither +x nor -x", shown(typed));
            Err(UsageError::new(message, "Type `--chmod +x PATH` or `--chmod -x PATH`").into())
        }
    }
}
