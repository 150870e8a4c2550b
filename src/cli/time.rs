//! Moments and spans, for documents and for people.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mirror::model::WallTime;

/// Returns a moment for a document: RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(time: WallTime) -> String {
    format!("{:.3}", timestamp(time))
}

/// Returns a moment for people: local date and time to the second.
pub(crate) fn local(time: WallTime) -> String {
    let zoned = timestamp(time).to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Returns a span for people, in whole seconds from a second on: `4m 12s`.
pub(crate) fn span(ms: u64) -> String {
    let ms = if ms < 1000 { ms } else { ms - ms % 1000 };
    let span = SignedDuration::try_from(Duration::from_millis(ms)).unwrap_or(SignedDuration::MAX);
    format!("{span:#}")
}

/// Returns the moment that lies `span` before `time`.
pub(crate) fn before(time: WallTime, span: Duration) -> WallTime {
    let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    WallTime {
        ms: time.ms.saturating_sub(ms),
    }
}

/// Returns how long a lease lasts, for people.
pub(crate) fn lease(expires_in_ms: i64) -> String {
    let ms = span(expires_in_ms.unsigned_abs());
    if expires_in_ms < 0 {
        format!("until {ms} ago")
    } else {
        format!("for {ms} more")
    }
}

/// A wall clock outside of what a calendar covers is shown as its nearest end rather than not at all.
fn timestamp(time: WallTime) -> Timestamp {
    Timestamp::from_millisecond(time.ms).unwrap_or(if time.ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339_and_spans_are_short() {
        assert_eq!(
            rfc3339(WallTime {
                ms: 1_700_000_000_123
            }),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(rfc3339(WallTime { ms: i64::MAX }), "9999-12-30T22:00:00.999Z");
        for (ms, text) in [
            (0, "0s"),
            (250, "250ms"),
            (252_999, "4m 12s"),
            (300_000, "5m"),
            (43_200_000, "12h"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(lease(-4_200), "until 4s ago");
        assert_eq!(lease(60_000), "for 1m more");
    }
}
