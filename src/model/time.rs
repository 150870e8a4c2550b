//! Time as an argument: the lock rules never look at a clock themselves.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one run of one kernel: the text of `/proc/sys/kernel/random/boot_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(String);

impl BootId {
    /// Wraps the text that the kernel shows.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Milliseconds since 1970 on the wall clock. It is shown to people and decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub ms: i64,
}

/// One reading of all the clocks that matter.
///
/// `boottime_ns` is `CLOCK_BOOTTIME`: it counts while the machine sleeps and no date change moves it. It is only
/// comparable between readings of the same boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// The boot in which the reading was taken.
    pub boot: BootId,
    /// Nanoseconds since that boot.
    pub boottime_ns: i64,
    /// The same moment for people.
    pub wall: WallTime,
}

impl Now {
    /// Returns the milliseconds from this moment until `deadline_ns` of the same boot, negative when it passed.
    pub fn ms_until(&self, deadline_ns: i64) -> i64 {
        deadline_ns.saturating_sub(self.boottime_ns) / 1_000_000
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
