//! Replaces what differs from run to run by words, so that output can be compared with a snapshot.

/// What stands for a time; the fraction of a second and the zone behind it are cut off.
const TIME: &str = "[TIME]";

/// The shapes that are replaced: `x` stands for a hexadecimal digit, `9` for a decimal one, the rest for itself.
/// Longer ones first.
const SHAPES: [(&str, &str); 4] = [
    (
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "[SHA256]",
    ),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "[OID]"),
    ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "[UUID]"),
    ("9999-99-99T99:99:99", TIME),
];

/// Replaces the sandbox's path, digests, object ids, uuids and RFC 3339 times.
pub(super) fn scrub(sandbox: &str, text: &str) -> String {
    let text = text.replace(sandbox, "[SANDBOX]");
    let mut scrubbed = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(character) = rest.chars().next() {
        let inside_word = scrubbed.ends_with(|before: char| before.is_ascii_alphanumeric());
        let fitting = SHAPES.iter().find(|(shape, _)| !inside_word && fits(shape, rest));
        if let Some((shape, word)) = fitting {
            scrubbed.push_str(word);
            rest = &rest[shape.len()..];
            if *word == TIME {
                rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                rest = rest.strip_prefix('Z').unwrap_or(rest);
            }
        } else {
            scrubbed.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    scrubbed
}

/// Tells whether `text` begins with a whole word of this shape.
fn fits(shape: &str, text: &str) -> bool {
    let (text, shape) = (text.as_bytes(), shape.as_bytes());
    let ends = shape.last() != Some(&b'x') || !text.get(shape.len()).is_some_and(u8::is_ascii_alphanumeric);
    text.len() >= shape.len()
        && ends
        && shape.iter().zip(text).all(|(shape, byte)| match shape {
            b'x' => byte.is_ascii_hexdigit(),
            b'9' => byte.is_ascii_digit(),
            other => other == byte,
        })
}

#[test]
fn what_differs_from_run_to_run_becomes_a_word() {
    let text = "/tmp/x/root: 0198c0de-0000-7000-8000-0123456789ab at 2025-01-02T03:04:05.678Z\n\
                0123456789012345678901234567890123456789 0198c0de-0000-7000-8000-0123456789abc";
    assert_eq!(
        scrub("/tmp/x", text),
        "[SANDBOX]/root: [UUID] at [TIME]\n[OID] 0198c0de-0000-7000-8000-0123456789abc"
    );
}
