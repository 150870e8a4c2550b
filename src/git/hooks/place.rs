//! One hook file: ours goes in beside what is there, and comes out again.
//!
//! At every instant the name of the hook holds what was there before or what shall be there, whole. A hook that cannot
//! take lines of ours is first given a second name in `mirror-kept/` and replaced afterwards; so a kill between two
//! steps loses nothing, and doing it again (or taking it back) goes on from there.

use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::script::{self, Form, KEPT, Script};
use super::{HookError, HookName, HookReport, HookState};
use crate::disk::contained::{self, Dir, FileKind, Stat};
use crate::disk::{self, DiskError, fault, metadata, staged, sync};

/// What a relative link needs in front to say in `mirror-kept/` what it says beside it.
const UP: &[u8] = b"../";

/// The name of one hook in one directory.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) directory: &'a Path,
    pub(super) hook: HookName,
}

/// What a hook's name holds.
enum Found {
    Nothing,
    File {
        content: Vec<u8>,
        stat: Stat,
    },
    /// `content` is what the link leads to; empty where that is no file.
    Link {
        text: Vec<u8>,
        content: Vec<u8>,
    },
}

impl Place<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(self.hook.as_str())
    }

    /// Where a hook lies that ours calls.
    pub(super) fn kept(&self) -> PathBuf {
        self.directory.join(KEPT).join(self.hook.as_str())
    }

    /// Makes the hook check, whatever else it does. Doing it again changes nothing.
    pub(super) fn install(&self) -> Result<(), HookError> {
        match self.look()? {
            Found::Nothing => match look_at(&self.kept())? {
                Found::Nothing => self.replace(&script::created(self.hook), None),
                Found::File { content, .. } | Found::Link { content, .. } => self.chain(&content),
            },
            Found::Link { text, content } => {
                self.keep_link(&text)?;
                self.chain(&content)
            }
            Found::File { content, stat } => match Script::of(self.hook, &content) {
                Script::Damaged => Err(HookError::Damaged { path: self.path() }),
                Script::Ours { is_current: true, .. } if is_executable(&stat) => Ok(()),
                Script::Ours { form, rest, .. } => {
                    let mode = stat.mode | 0o111;
                    self.replace(
                        &script::with_block(self.hook, form, &rest),
                        Some(Stat { mode, ..stat }),
                    )
                }
                Script::Foreign
                    if is_executable(&stat) && stat.nlink == 1 && script::takes_block(&content) =>
                {
                    self.replace(&script::with_block(self.hook, Form::Added, &content), Some(stat))
                }
                Script::Foreign => {
                    self.keep_file(&stat)?;
                    self.chain(&content)
                }
            },
        }
    }

    /// Gives back what was there before.
    pub(super) fn uninstall(&self) -> Result<(), HookError> {
        disk::remove_file_if_there(&self.aside())?;
        match self.look()? {
            Found::Nothing => self.put_back()?,
            Found::Link { text, .. } => self.forget_kept(
                |kept| matches!(kept, Found::Link { text: kept, .. } if kept == moved_down(&text)),
            )?,
            Found::File { content, stat } => match Script::of(self.hook, &content) {
                Script::Damaged => return Err(HookError::Damaged { path: self.path() }),
                Script::Foreign => self.forget_kept(
                    |kept| matches!(kept, Found::File { stat: kept, .. } if is_same(&kept, &stat)),
                )?,
                Script::Ours { form, rest, .. } => self.take_out(form, &rest, stat)?,
            },
        }
        disk::remove_dir_if_empty(&self.directory.join(KEPT))?;
        Ok(())
    }

    /// Tells what there is.
    pub(super) fn report(&self) -> Result<HookReport, HookError> {
        let (state, beside) = self.state()?;
        let is_called = beside && state != HookState::Foreign;
        let kept = contained::stat(&self.kept())?.map(|_| self.kept());
        Ok(HookReport {
            hook: self.hook,
            path: self.path(),
            state,
            beside,
            left_aside: kept.filter(|_| !is_called),
        })
    }

    /// Tells what there is, and whether another hook runs beside ours.
    fn state(&self) -> Result<(HookState, bool), HookError> {
        let Found::File { content, stat } = self.look()? else {
            let is_absent = contained::stat(&self.path())?.is_none();
            return Ok((
                if is_absent {
                    HookState::Absent
                } else {
                    HookState::Foreign
                },
                !is_absent,
            ));
        };
        Ok(match Script::of(self.hook, &content) {
            Script::Foreign => (HookState::Foreign, is_executable(&stat)),
            Script::Damaged => (HookState::Damaged, true),
            Script::Ours {
                form,
                rest,
                is_current,
            } => {
                let state = match is_executable(&stat) {
                    false => HookState::Disabled,
                    true if is_current => HookState::Installed,
                    true => HookState::Outdated,
                };
                let beside = match form {
                    Form::Created => !script::is_bare(&rest),
                    Form::Added => true,
                    Form::Sourcing | Form::Running => contained::stat(&self.kept())?.is_some(),
                };
                (state, beside)
            }
        })
    }

    fn take_out(&self, form: Form, rest: &[u8], stat: Stat) -> Result<(), HookError> {
        match form {
            Form::Created if script::is_bare(rest) => {
                disk::remove_file(&self.path())?;
                sync::sync_directory(self.directory)?;
                Ok(())
            }
            Form::Created | Form::Added => self.replace(rest, Some(stat)),
            Form::Sourcing | Form::Running if script::is_bare(rest) => {
                if contained::stat(&self.kept())?.is_none() {
                    disk::remove_file(&self.path())?;
                }
                self.put_back()
            }
            Form::Sourcing | Form::Running => Err(HookError::Edited {
                path: self.path(),
                kept: self.kept(),
            }),
        }
    }

    /// Writes our hook in front of the kept one.
    fn chain(&self, kept: &[u8]) -> Result<(), HookError> {
        fault::point("hooks.kept");
        self.replace(&script::chaining(self.hook, kept), None)
    }

    /// Gives the hook a second name, under which ours will find it. Only names change: the file stays as it is.
    fn keep_file(&self, stat: &Stat) -> Result<(), HookError> {
        let kept = self.make_kept_directory()?;
        match disk::hard_link(&self.path(), &kept) {
            Err(error) if error.is_already_there() => match contained::stat(&kept)? {
                Some(same) if is_same(&same, stat) => Ok(()),
                _ => Err(HookError::Taken { path: kept }),
            },
            answer => Ok(answer?),
        }
    }

    /// Makes a second link that leads to the same place.
    fn keep_link(&self, text: &[u8]) -> Result<(), HookError> {
        let kept = self.make_kept_directory()?;
        let directory = Dir::open(&self.directory.join(KEPT))?;
        match staged::symlink_new(&directory.child(self.hook.as_str()), &moved_down(text)) {
            Err(error) if error.is_already_there() => match look_at(&kept)? {
                Found::Link { text: same, .. } if same == moved_down(text) => Ok(()),
                _ => Err(HookError::Taken { path: kept }),
            },
            answer => Ok(answer?),
        }
    }

    fn make_kept_directory(&self) -> Result<PathBuf, HookError> {
        disk::create_dir_all(&self.directory.join(KEPT))?;
        Ok(self.kept())
    }

    /// Puts the kept hook, if there is one, where it came from.
    fn put_back(&self) -> Result<(), HookError> {
        match look_at(&self.kept())? {
            Found::Nothing => return Ok(()),
            Found::File { .. } => disk::rename(&self.kept(), &self.path())?,
            Found::Link { text, .. } => {
                let aside = Dir::open(self.directory)?;
                staged::symlink_new(&aside.child(&self.aside_name()), moved_up(&text))?;
                disk::rename(&self.aside(), &self.path())?;
                fault::point("hooks.link_restored");
                disk::remove_file(&self.kept())?;
            }
        }
        sync::sync_directory(self.directory)?;
        Ok(())
    }

    /// Drops the second name of a hook that is where it belongs: what an interrupted step leaves.
    fn forget_kept(&self, is_same: impl FnOnce(Found) -> bool) -> Result<(), HookError> {
        if is_same(look_at(&self.kept())?) {
            disk::remove_file(&self.kept())?;
        }
        Ok(())
    }

    /// Replaces the hook whole: written aside, synced, renamed. With `like` it keeps that file's owner and mode.
    fn replace(&self, content: &[u8], like: Option<Stat>) -> Result<(), HookError> {
        let aside = self.aside();
        disk::create_dir_all(self.directory)?;
        disk::remove_file_if_there(&aside)?;
        fault::check("hooks.write").map_err(DiskError::of("writing", &aside))?;
        disk::write_new_file(&aside, content, metadata::fresh_mode(true))?;
        if let Some(like) = like {
            let open = |path: &Path| File::open(path).map_err(DiskError::of("opening", path));
            let new = open(&aside)?;
            metadata::copy(&open(&self.path())?, &new)?;
            metadata::set_mode(&new, like.mode)?;
        }
        sync::sync_path(&aside)?;
        fault::point("hooks.written");
        disk::rename(&aside, &self.path())?;
        fault::point("hooks.replaced");
        sync::sync_directory(self.directory)?;
        Ok(())
    }

    fn look(&self) -> Result<Found, HookError> {
        look_at(&self.path())
    }

    /// A name of our own in the same directory: a kill leaves it at worst, and the next step removes it.
    fn aside(&self) -> PathBuf {
        self.directory.join(self.aside_name())
    }

    fn aside_name(&self) -> String {
        format!("{}.mirror-new", self.hook)
    }
}

fn look_at(path: &Path) -> Result<Found, HookError> {
    let Some(stat) = contained::stat(path)? else {
        return Ok(Found::Nothing);
    };
    let read = || fs::read(path).map_err(DiskError::of("reading", path));
    match stat.kind {
        FileKind::File => Ok(Found::File {
            content: read()?,
            stat,
        }),
        FileKind::Symlink => {
            let text = fs::read_link(path).map_err(DiskError::of("reading the link", path))?;
            let content = if path.is_file() { read()? } else { Vec::new() };
            Ok(Found::Link {
                text: text.into_os_string().into_vec(),
                content,
            })
        }
        FileKind::Directory | FileKind::Other => Err(HookError::NoFile {
            path: path.to_owned(),
        }),
    }
}

fn is_executable(stat: &Stat) -> bool {
    stat.mode & 0o111 != 0
}

fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.dev, a.ino) == (b.dev, b.ino)
}

fn moved_down(text: &[u8]) -> Vec<u8> {
    if text.starts_with(b"/") {
        text.to_vec()
    } else {
        [UP, text].concat()
    }
}

fn moved_up(text: &[u8]) -> &[u8] {
    text.strip_prefix(UP)
        .filter(|_| !text.starts_with(b"/"))
        .unwrap_or(text)
}
