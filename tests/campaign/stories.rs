//! What the campaign found, once each, at the very call: told by what the call is about, since numbers shift.

use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;

use super::bench::Bench;
use super::calls::Call;
use super::kill::{Among, Point};
use super::situation::Situation;
use super::trace::{Fault, Victim};
use super::{errors, kill};

/// A fault that once broke a promise.
struct Story {
    told: &'static str,
    situation: &'static str,
    /// The name of the call, and how the path ends that it is about.
    call: (&'static str, &'static str),
    /// The error; `None` for a kill.
    errno: Option<Errno>,
    /// Whether every later call of the name fails as well.
    for_ever: bool,
}

const STORIES: &[Story] = &[
    Story {
        told: "libgit2's lock on the index that was being written kept every recovery from writing it again",
        situation: "commit with a message",
        call: ("rename", "/index.lock"),
        errno: None,
        for_ever: false,
    },
    Story {
        told: "a pack that was being written stayed in git's directory for ever",
        situation: "commit with a message",
        call: ("rename", ".pack"),
        errno: None,
        for_ever: false,
    },
    Story {
        told: "git's lock on the scratch index of a validation kept every later one from starting",
        situation: "commit that is validated",
        call: ("rename", "/index.lock"),
        errno: None,
        for_ever: false,
    },
    Story {
        told: "an init without its tables could be opened, and every command failed",
        situation: "init",
        call: ("openat", "/registry.db-wal"),
        errno: None,
        for_ever: false,
    },
    Story {
        told: "a repository whose .git could not be looked at was taken for a directory without git",
        situation: "rollback",
        call: ("newfstatat", "/root/.git"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "to libgit2 an index that it could not look at was an empty one, and that was written",
        situation: "commit that is merged by path",
        call: ("access", "/index"),
        errno: Some(Errno::EACCES),
        for_ever: true,
    },
    Story {
        told: "git went on without the repository's attributes when it could not look at its objects",
        situation: "commit through filters",
        call: ("newfstatat", "/.git/objects"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "git stored bytes unconverted when it could not open the attributes, and only warned",
        situation: "commit through filters",
        call: ("openat", ".gitattributes"),
        errno: Some(Errno::EACCES),
        for_ever: false,
    },
    Story {
        told: "libgit2 stored bytes unconverted when it could not look at the attributes",
        situation: "commit through the user's own filters",
        call: ("newfstatat", "/info/attributes"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "git stored bytes unconverted when it could not read the attributes",
        situation: "commit through the user's own filters",
        call: ("read", "/info/attributes"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "git stored an empty file when its content could not be handed over",
        situation: "commit through filters",
        call: ("write", "]"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "a tree that libgit2 could not look at was taken for an empty one, and its files were missing from the commit",
        situation: "commit of one file",
        call: ("access", "/7a/b1fdb8d057fea27ccdd6ae41cd75e7f7e70d1b"),
        errno: Some(Errno::EACCES),
        for_ever: false,
    },
    Story {
        told: "git apply reported success although it could not make a directory, and the file was lost",
        situation: "stage a patch",
        call: ("mkdir", "work/deep"),
        errno: Some(Errno::EACCES),
        for_ever: false,
    },
    Story {
        told: "git apply reported success although it could not remove a file, and the deletion was not staged",
        situation: "stage a patch",
        call: ("unlink", "work/deleted"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "a rollback that had happened answered that it had failed",
        situation: "rollback",
        call: ("unlinkat", "lock"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "a lock that had been granted answered that it had failed",
        situation: "lock",
        call: ("pread64", "/registry.db-wal"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
    Story {
        told: "a begin that could not make its branch left the task open",
        situation: "begin",
        call: ("linkat", "/branch"),
        errno: Some(Errno::EROFS),
        for_ever: false,
    },
    Story {
        told: "a lock that had been granted answered that it had failed, since the runs could not be listed",
        situation: "lock",
        call: ("openat", "/.mirror/runs"),
        errno: Some(Errno::EIO),
        for_ever: false,
    },
];

pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    STORIES
        .iter()
        .map(|story| Trial::test(format!("story: {}", story.told), || tell(story)))
}

fn tell(story: &Story) -> Result<(), Failed> {
    let bench = Bench::new(Situation::named(story.situation));
    let counts = if story.errno.is_some() {
        Call::can_fail
    } else {
        Call::changes
    };
    let numbers = bench.find(counts, story.call.0, story.call.1);
    if numbers.is_empty() {
        return Err(format!("no call {:?} any more", story.call).into());
    }
    for at in numbers {
        let ended = match story.errno {
            None => {
                let (victim, among) = (Victim::Group, Among::Changes);
                kill::once(&bench, Point { at, victim, among }, true)
            }
            Some(errno) => errors::once(
                &bench,
                Fault::Fail {
                    at,
                    errno,
                    for_ever: story.for_ever,
                },
                true,
            ),
        };
        ended.map_err(|violation| format!("at {at}: {violation}"))?;
    }
    Ok(())
}
