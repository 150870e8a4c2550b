//! The tree that an index would become, where git has worked it out already and kept it in the index.
//!
//! `git commit` does so before it calls its hooks, and commits exactly that tree. Knowing it, the difference to the
//! current commit is a walk over the directories that differ, whatever the size of the index. Anything unexpected
//! in the file answers "not known", and the caller compares entry by entry.

use crate::model::ObjectId;

/// Signature, version and number of entries.
const HEADER_LENGTH: usize = 12;

/// What an entry has before its name: times, file numbers, mode, owner, size, object, flags.
const ENTRY_LENGTH: usize = 62;
const FLAGS_AT: usize = 60;
const EXTENDED: u16 = 0x4000;
const NAME_LENGTH: u16 = 0x0fff;

/// The object id at the end of the file, and in the extension.
const ID_LENGTH: usize = 20;

/// Returns the tree of the whole index, if the index in `file` says so.
pub(super) fn root(file: &[u8]) -> Option<ObjectId> {
    let file = file.get(..file.len().checked_sub(ID_LENGTH)?)?;
    let version = number(file.get(4..8)?)?;
    if !file.starts_with(b"DIRC") || !(2..=4).contains(&version) {
        return None;
    }
    let mut rest = file.get(HEADER_LENGTH..)?;
    for _ in 0..number(file.get(8..HEADER_LENGTH)?)? {
        rest = rest.get(entry_length(rest, version)?..)?;
    }
    loop {
        let (name, size) = (rest.get(..4)?, number(rest.get(4..8)?)?);
        let content = rest.get(8..8 + size)?;
        if name == b"TREE" {
            return root_of(content);
        }
        rest = &rest[8 + size..];
    }
}

/// The first record is the root's: an empty name, the number of entries (negative when it is not known), the number of
/// subtrees, the tree.
fn root_of(extension: &[u8]) -> Option<ObjectId> {
    let record = extension.strip_prefix(b"\0")?;
    let end = record.iter().position(|byte| *byte == b'\n')?;
    let known = record[..end].first()? != &b'-';
    let id = record.get(end + 1..end + 1 + ID_LENGTH)?;
    known.then_some(ObjectId::from_bytes(id.try_into().ok()?))
}

fn entry_length(entry: &[u8], version: usize) -> Option<usize> {
    let flags = u16::from_be_bytes(entry.get(FLAGS_AT..ENTRY_LENGTH)?.try_into().ok()?);
    let fixed = ENTRY_LENGTH + if flags & EXTENDED == 0 { 0 } else { 2 };
    let until_nul = |from: usize| Some(entry.get(from..)?.iter().position(|byte| *byte == 0)? + from);
    if version == 4 {
        // How much of the last name is dropped, in a number of one to some bytes; what comes after it, until the NUL.
        let number_length = entry.get(fixed..)?.iter().position(|byte| byte & 0x80 == 0)? + 1;
        return Some(until_nul(fixed + number_length)? + 1);
    }
    let name = flags & NAME_LENGTH;
    let end = if name == NAME_LENGTH {
        until_nul(fixed)?
    } else {
        fixed + usize::from(name)
    };
    // At least one NUL, up to a multiple of eight.
    Some((end + 8) & !7)
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(version: u32, entries: &[&[u8]], extensions: &[(&[u8], &[u8])]) -> Vec<u8> {
        let count = u32::try_from(entries.len()).unwrap();
        let mut file = [&b"DIRC"[..], &version.to_be_bytes(), &count.to_be_bytes()].concat();
        file.extend(entries.concat());
        for (name, content) in extensions {
            let size = u32::try_from(content.len()).unwrap().to_be_bytes();
            file.extend([name, &size[..], content].concat());
        }
        file.extend([0; ID_LENGTH]);
        file
    }

    fn entry(flags: u16, behind: &[u8]) -> Vec<u8> {
        [&[7; FLAGS_AT][..], &flags.to_be_bytes(), behind].concat()
    }

    #[test]
    fn the_tree_is_found_behind_entries_of_every_shape() {
        let tree = [&b"\x003 0\n"[..], &[0xab; 20]].concat();
        let expected = Some(ObjectId::from_bytes([0xab; 20]));
        let long = "x".repeat(4096);
        let long = entry(NAME_LENGTH, &[long.as_bytes(), &[0; 2]].concat());
        let short = entry(1, b"a\0");
        let extended = entry(2 | EXTENDED, b"\0\0ab\0\0\0\0\0\0");
        for entries in [&[][..], &[&short[..]], &[&short[..], &extended, &long, &short]] {
            let file = index(3, entries, &[(b"link", b"xyz"), (b"TREE", &tree)]);
            assert_eq!(root(&file), expected, "{}", entries.len());
        }
        let packed = [entry(1, b"\0a\0"), entry(2, b"\x81\x02bc\0")];
        assert_eq!(
            root(&index(4, &[&packed[0], &packed[1]], &[(b"TREE", &tree)])),
            expected
        );
    }

    #[test]
    fn what_is_not_known_or_not_understood_is_no_answer() {
        let unknown = [&b"\0-1 0\n"[..], &[0xab; 20]].concat();
        let whole = [&b"\x001 0\n"[..], &[0xab; 20]].concat();
        assert_eq!(root(&index(2, &[], &[(b"TREE", &unknown)])), None);
        assert_eq!(root(&index(2, &[], &[])), None);
        assert_eq!(root(&index(5, &[], &[(b"TREE", &whole)])), None);
        let file = index(2, &[&entry(1, b"a\0")], &[(b"TREE", &whole)]);
        for length in 0..file.len() {
            let _answer_without_panic = root(&file[..length]);
        }
    }
}
