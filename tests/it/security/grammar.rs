//! Hostile input by seed: fragments that have broken parsers before, joined at random. The same seed makes the same input.

/// Pieces of paths: what git and mirror keep for themselves, in parts that can be joined in every way, separators of three
/// systems, code points that file systems do not see, and bytes that are no text.
const PATH_FRAGMENTS: &[&[u8]] = &[
    b".",
    b"..",
    b"/",
    b"//",
    b"\\",
    b":",
    b" ",
    b". ",
    b"~",
    b"~1",
    b"~2",
    b"~4",
    b"1",
    b"0",
    b"10",
    b"a",
    b"b.txt",
    b".git",
    b".GIT",
    b".g",
    b"g",
    b"G",
    b"i",
    b"it",
    b"t",
    b"git",
    b"git~1",
    b".mirror",
    b".Mir",
    b"mirr",
    b"ror",
    b"modules",
    b".gitmodules",
    b"gitmod",
    b"gi7eba",
    b"gi7",
    b"ignore",
    b"::$INDEX_ALLOCATION",
    b"config",
    b"-",
    b"--",
    b"\n",
    b"\t",
    b"\x1b[31m",
    b"\x7f",
    b"\0",
    b"\"",
    b"\xff",
    b"\xc0\xae",
    b"\xe2\x80",
    b"\xed\xa0\x80",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf0\x9f",
    "\u{200c}".as_bytes(),
    "\u{200d}".as_bytes(),
    "\u{200e}".as_bytes(),
    "\u{200f}".as_bytes(),
    "\u{202a}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{206a}".as_bytes(),
    "\u{206f}".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{ad}".as_bytes(),
    "\u{fe0f}".as_bytes(),
    "\u{130}".as_bytes(),
    "\u{131}".as_bytes(),
    "\u{301}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{ff0e}".as_bytes(),
    "\u{ff47}".as_bytes(),
    "\u{e0067}".as_bytes(),
];

/// Pieces of YAML.
const YAML_FRAGMENTS: &[&[u8]] = &[
    b"git:",
    b" ",
    b"\n",
    b"  ",
    b"branch: always",
    b"target: ",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"- ",
    b"&a ",
    b"*a",
    b"*a, *a",
    b"<<: *a",
    b"? ",
    b"!!binary ",
    b"!<tag:x> ",
    b"\"",
    b"'",
    b"|\n",
    b">\n",
    b"---\n",
    b"...\n",
    b"%YAML 1.2\n",
    b"#",
    b"\t",
    b"resource_manager:",
    b"lock_timeout: ",
    b"max_hold: ",
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b".inf",
    b".nan",
    b"0x7fffffff",
    b"null",
    b"~",
    b"yes",
    b"true",
    b"store: {url: sqlite}",
    b"hooks: {mode: warn}",
    b"\xff",
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"strategies:",
    b"directories:",
    b"ignore_patterns: [",
    b"[[[[[[[[",
    b"{a: {a: {a: ",
    b"'[a'",
];

/// Pieces of JSON, and of a manifest.
const JSON_FRAGMENTS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\"path\":",
    b"\"operations\":[",
    b"\"root\":",
    b"\"token\":\"17\"",
    b"null",
    b"\"transaction\":\"0190f3a4-0000-7000-8000-000000000001\"",
    b"\"task\":\"a\"",
    b"\"..\"",
    b"\"../x\"",
    b"\"a\"",
    b"\".git/config\"",
    b"[46,46]",
    b"\"slot\":{\"Staged\":4294967295}",
    b"{\"Made\":-1}",
    b"1e400",
    b"-0",
    b"9e99999",
    b"340282366920938463463374607431768211456",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b"\xff",
    b" ",
    b"\n",
    b"true",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"\"reference\":null",
    b"\"index\":null",
    b"\"mtime_ns\":",
];

/// Pieces of unified diffs.
const DIFF_FRAGMENTS: &[&[u8]] = &[
    b"diff --git a/f b/f\n",
    b"--- a/f\n",
    b"+++ b/f\n",
    b"--- /dev/null\n",
    b"+++ b/../../escape\n",
    b"+++ /etc/escape\n",
    b"@@ -1 +1 @@\n",
    b"@@ -0,0 +1 @@\n",
    b"@@ -1,99999999999 +1 @@\n",
    b"@@ -18446744073709551615,1 +1 @@\n",
    b"-one\n",
    b"+two\n",
    b" one\n",
    b"\\ No newline at end of file\n",
    b"rename from f\n",
    b"rename to .git/config\n",
    b"rename to ../x\n",
    b"copy from f\n",
    b"copy to \"\\056git/x\"\n",
    b"new file mode 120000\n",
    b"new file mode 160000\n",
    b"old mode 100644\n",
    b"new mode 100755\n",
    b"deleted file mode 100644\n",
    b"index 0000000..1111111 120000\n",
    b"GIT binary patch\n",
    b"literal 5\n",
    b"Mc$_OqttjCF00000\n",
    b"delta 99999\n",
    b"similarity index 100%\n",
    b"+++ b/.mirror/registry.db\n",
    b"+++ \"b/\\033[31m\"\n",
    b"--- \"a/f\n",
    b"\0",
    b"\r\n",
    b"\xff\n",
    b"+++ b/a\\b\n",
];

/// Numbers that look random (`splitmix64`).
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = self.next() % end as u64;
        usize::try_from(number).unwrap_or_default()
    }

    /// Writes a path into `text`.
    pub(crate) fn path(&mut self, text: &mut Vec<u8>) {
        self.join(PATH_FRAGMENTS, 9, text);
        if self.below(64) == 0 {
            // At the edges of what is too long, for a component and for a path.
            let length = [250, 255, 256, 3072][self.below(4)] - self.below(4);
            let separate = self.below(2) == 0;
            while text.len() < length {
                text.push(if separate && text.len().is_multiple_of(100) {
                    b'/'
                } else {
                    b'x'
                });
            }
        }
    }

    /// Writes YAML, or something like it.
    pub(crate) fn yaml(&mut self, text: &mut Vec<u8>) {
        self.join(YAML_FRAGMENTS, 24, text);
    }

    /// Writes JSON, or something like it.
    pub(crate) fn json(&mut self, text: &mut Vec<u8>) {
        self.join(JSON_FRAGMENTS, 24, text);
    }

    /// Writes a diff, or something like it.
    pub(crate) fn diff(&mut self, text: &mut Vec<u8>) {
        self.join(DIFF_FRAGMENTS, 14, text);
    }

    /// Changes some bytes of `bytes`, cuts them or doubles a part of them.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] = self.next().to_le_bytes()[0],
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                _ => {
                    let end = (at + self.below(32)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
    }

    fn join(&mut self, fragments: &[&[u8]], count_max: usize, text: &mut Vec<u8>) {
        text.clear();
        for _ in 0..=self.below(count_max) {
            text.extend_from_slice(fragments[self.below(fragments.len())]);
        }
        if self.below(16) == 0 {
            self.damage(text);
        }
    }
}
