//! The text of a hook: which part of it is ours, and how that part gets in and out again.
//!
//! Everything of ours stands between two marker lines, so that cutting it out gives back the very bytes that were there
//! before. Only scripts that a POSIX shell can read get lines of ours; every other hook is kept aside as it is, and a
//! script of ours calls it. Pure text: nothing here touches a file.

use super::HookName;

/// What surrounds the line that calls mirror: the markers, and what to do when mirror is missing.
const BLOCK: &str = include_str!("../../../hooks/block");

const BEGIN: &str = "# >>> mirror hook (";
const END: &str = "# <<< mirror hook <<<\n";

/// The first line of scripts that are ours from the start.
const SHEBANG: &str = "#!/bin/sh\n";

/// Where hooks are kept that ours calls, beside ours.
pub(super) const KEPT: &str = "mirror-kept";

/// How our block came to stand where it stands. The marker line says it, so that taking the block out knows what to
/// give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// There was no hook: the file is ours.
    Created,
    /// It stands at the top of somebody's shell script.
    Added,
    /// The file is ours and reads the kept shell script, which so keeps its `$0`.
    Sourcing,
    /// The file is ours and runs the kept program.
    Running,
}

/// A hook file taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Nothing in it is ours.
    Foreign,
    /// It has a block of ours.
    Ours {
        form: Form,
        /// What is around the block.
        rest: Vec<u8>,
        /// Whether the block is the one that this version writes.
        is_current: bool,
    },
    /// It has markers of ours that do not belong together.
    Damaged,
}

impl Form {
    const ALL: [Self; 4] = [Self::Created, Self::Added, Self::Sourcing, Self::Running];

    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Added => "added",
            Self::Sourcing => "sourcing",
            Self::Running => "running",
        }
    }

    fn chain(self, hook: HookName) -> String {
        let kept = format!("\"${{0%/*}}/{KEPT}/{hook}\"");
        match self {
            Self::Created | Self::Added => String::new(),
            Self::Sourcing => format!("if [ -x {kept} ]; then . {kept}; fi\n"),
            Self::Running => format!("if [ -x {kept} ]; then exec {kept} \"$@\"; fi\n"),
        }
    }
}

impl Script {
    /// Takes the content of a hook file apart.
    pub(super) fn of(hook: HookName, content: &[u8]) -> Self {
        let begins = line_starts(content).filter(|start| content[*start..].starts_with(BEGIN.as_bytes()));
        let ends = line_starts(content).filter(|start| content[*start..].starts_with(END.as_bytes()));
        let (begins, ends): (Vec<usize>, Vec<usize>) = (begins.collect(), ends.collect());
        match (begins.as_slice(), ends.as_slice()) {
            ([], []) => Self::Foreign,
            ([begin], [end]) if begin < end => {
                let (block, after) = content[*begin..].split_at(end + END.len() - begin);
                let word = &block[BEGIN.len()..];
                let form = Form::ALL
                    .into_iter()
                    .find(|form| word.starts_with(form.word().as_bytes()));
                form.map_or(Self::Damaged, |form| Self::Ours {
                    form,
                    rest: [&content[..*begin], after].concat(),
                    is_current: block == self::block(hook, form).as_bytes(),
                })
            }
            _ => Self::Damaged,
        }
    }
}

/// Returns a script that checks and does nothing else.
pub(super) fn created(hook: HookName) -> Vec<u8> {
    with_block(hook, Form::Created, SHEBANG.as_bytes())
}

/// Returns a script that checks and then goes on with the kept hook, whose content is `kept`.
pub(super) fn chaining(hook: HookName, kept: &[u8]) -> Vec<u8> {
    match shell_line(kept) {
        // zsh calls a script by its own name when it is read by another, which is what reading it shall avoid.
        Some(line) if !line.ends_with(b"zsh\n") => with_block(hook, Form::Sourcing, &line),
        _ => with_block(hook, Form::Running, SHEBANG.as_bytes()),
    }
}

/// Tells whether nothing is left of a script of ours once the block is out.
pub(super) fn is_bare(rest: &[u8]) -> bool {
    rest.starts_with(b"#!") && rest.iter().position(|byte| *byte == b'\n') == Some(rest.len() - 1)
}

/// Tells whether our block can stand in this script.
pub(super) fn takes_block(content: &[u8]) -> bool {
    shell_line(content).is_some()
}

/// Puts our block into a script, before anything that runs.
pub(super) fn with_block(hook: HookName, form: Form, script: &[u8]) -> Vec<u8> {
    let first_line = if script.starts_with(b"#!") {
        line_length(script)
    } else {
        0
    };
    let (shebang, rest) = script.split_at(first_line);
    [shebang, block(hook, form).as_bytes(), rest].concat()
}

fn block(hook: HookName, form: Form) -> String {
    // Nobody skips the hook of a server.
    let skip = if hook.is_of_a_server() {
        String::new()
    } else {
        format!(", or skip the check with git {} --no-verify", hook.verb())
    };
    BLOCK
        .replace("@FORM@", form.word())
        .replace("@SKIP@", &skip)
        .replace("@SHIM@", hook.shim().trim_end())
        .replace("@CHAIN@", &form.chain(hook))
}

/// Returns the first line with which a POSIX shell would run this script; `None` when none would, or when its first
/// line is its only one. Like git, it takes a text without such a line for a shell script.
fn shell_line(script: &[u8]) -> Option<Vec<u8>> {
    if script.contains(&0) {
        return None;
    }
    if !script.starts_with(b"#!") {
        return Some(SHEBANG.as_bytes().to_vec());
    }
    let line = &script[..line_length(script)];
    let words = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let mut programs = words[2..]
        .split_ascii_whitespace()
        .filter(|word| !word.starts_with('-') && !word.contains('='));
    let mut name = program_name(programs.next()?);
    if name == "env" {
        name = program_name(programs.next()?);
    }
    let is_shell = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"].contains(&name);
    is_shell.then(|| line.to_vec())
}

fn program_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the length of the first line with its end.
fn line_length(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |end| end + 1)
}

fn line_starts(text: &[u8]) -> impl Iterator<Item = usize> {
    let behind = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(offset, _)| offset + 1);
    std::iter::once(0).chain(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOOK: HookName = HookName::PreCommit;

    fn rest(content: &[u8]) -> (Form, Vec<u8>) {
        match Script::of(HOOK, content) {
            Script::Ours {
                form,
                rest,
                is_current: true,
            } => (form, rest),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_goes_in_comes_out_and_leaves_the_very_bytes() {
        for script in [
            &b"#!/bin/sh\necho hi\n"[..],
            b"#!/bin/sh\n",
            b"#!/usr/bin/env sh\n. \"${0%/*}/h\"",
            b"npm test",
            b"",
            b"\n\n# >>> other >>>\n",
            b"#!/bin/bash -e\r\n\xff\xfe\n",
        ] {
            assert!(takes_block(script), "{script:?}");
            assert_eq!(Script::of(HOOK, script), Script::Foreign);
            let with = with_block(HOOK, Form::Added, script);
            assert_eq!(rest(&with), (Form::Added, script.to_vec()));
        }
        let (form, left) = rest(&created(HOOK));
        assert!(form == Form::Created && is_bare(&left));
    }

    #[test]
    fn only_shell_scripts_take_a_block() {
        for line in [
            "#!/bin/sh",
            "#! /bin/sh -e",
            "#!/usr/bin/env bash",
            "#!/usr/bin/env -S X=1 zsh -f",
            "#!/bin/dash",
        ] {
            assert!(takes_block(format!("{line}\nx").as_bytes()), "{line}");
        }
        for line in [
            "#!/usr/bin/env perl",
            "#!/usr/bin/fish",
            "#!/usr/bin/env -S node --x",
            "#!",
            "#!/usr/bin/env",
        ] {
            assert!(!takes_block(format!("{line}\nx").as_bytes()), "{line}");
        }
        assert!(
            !takes_block(b"#!/bin/sh"),
            "nothing can follow a line that does not end"
        );
        assert!(!takes_block(b"\x7fELF\0"));
        assert!(!takes_block(b"#!/bin/sh\nunpack\n\0\0"));
    }

    #[test]
    fn a_kept_hook_is_read_by_its_own_shell_or_run() {
        let shim = |kept: &[u8]| {
            let content = chaining(HOOK, kept);
            let (form, left) = rest(&content);
            assert!(is_bare(&left));
            (form, String::from_utf8(left).unwrap())
        };
        assert_eq!(
            shim(b"#!/bin/bash -u\nx"),
            (Form::Sourcing, "#!/bin/bash -u\n".to_owned())
        );
        assert_eq!(shim(b"x"), (Form::Sourcing, "#!/bin/sh\n".to_owned()));
        assert_eq!(
            shim(b"#!/usr/bin/env perl\nx"),
            (Form::Running, "#!/bin/sh\n".to_owned())
        );
        assert_eq!(shim(b"#!/bin/zsh\nx"), (Form::Running, "#!/bin/sh\n".to_owned()));
    }

    #[test]
    fn an_old_block_is_recognised_and_a_broken_one_is_damage() {
        let old = b"#!/bin/sh\n# >>> mirror hook (added) >>>\nold\n# <<< mirror hook <<<\nx\n";
        let expected = Script::Ours {
            form: Form::Added,
            rest: b"#!/bin/sh\nx\n".to_vec(),
            is_current: false,
        };
        assert_eq!(Script::of(HOOK, old), expected);
        for broken in [
            &b"# >>> mirror hook (added) >>>\nx\n"[..],
            b"# <<< mirror hook <<<\n",
            b"# <<< mirror hook <<<\n# >>> mirror hook (added) >>>\n",
            b"# >>> mirror hook (strange) >>>\n# <<< mirror hook <<<\n",
            b"# >>> mirror hook (added) >>>\n# >>> mirror hook (added) >>>\n# <<< mirror hook <<<\n",
        ] {
            assert_eq!(Script::of(HOOK, broken), Script::Damaged, "{broken:?}");
        }
    }

    #[test]
    fn every_hook_calls_mirror_by_its_own_name() {
        for hook in HookName::ALL {
            let text = String::from_utf8(created(hook)).unwrap();
            assert!(
                text.contains(&format!("mirror hook run {hook} \"$@\" || exit $?\n")),
                "{text}"
            );
            assert!(
                !text.contains('@') || !text.replace("\"$@\"", "").contains('@'),
                "{text}"
            );
        }
    }
}
