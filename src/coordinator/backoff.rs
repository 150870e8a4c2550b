//! How often something passing that is in the way is tried again, and how long it is waited in between.

use std::thread;
use std::time::Duration;

use crate::host;

/// Each pause is so many times as long as the one before.
const GROWTH: u32 = 4;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Counts tries, with growing pauses between them.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    left: u32,
    pause: Duration,
}

impl Backoff {
    /// Allows so many tries after the first one. The first pause is `first`, give or take a quarter.
    pub(super) fn new(retries: u32, first: Duration) -> Self {
        Self {
            left: retries,
            pause: first,
        }
    }

    /// Tells whether there are no tries left.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Waits before another try. `false`, without any waiting, when there have been enough of them.
    pub(super) fn again(&mut self) -> bool {
        if self.is_spent() {
            return false;
        }
        self.left -= 1;
        thread::sleep(host::jittered(self.pause));
        self.pause = (self.pause * GROWTH).min(PAUSE_MAX);
        true
    }

    /// Waits a little and then a little longer, for as long as `span` has not passed: for what is over in a moment usually.
    pub(super) fn until(span: Duration) -> impl FnMut() -> bool {
        let waited = host::Stopwatch::start();
        let mut pause = Duration::from_millis(2);
        move || {
            let goes_on = waited.elapsed() < span;
            if goes_on {
                thread::sleep(host::jittered(pause));
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            goes_on
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_and_pauses_grow() {
        let mut backoff = Backoff::new(2, Duration::from_millis(1));
        let waited = host::Stopwatch::start();
        assert!(!backoff.is_spent());
        assert!(backoff.again() && backoff.again());
        assert!(waited.elapsed() >= Duration::from_micros(3700));
        assert!(backoff.is_spent() && !backoff.again());
        assert!(!Backoff::new(0, PAUSE_MAX).again());
    }

    #[test]
    fn a_span_ends() {
        let mut goes_on = Backoff::until(Duration::from_millis(5));
        let tries = std::iter::repeat_with(&mut goes_on)
            .take_while(|goes_on| *goes_on)
            .count();
        assert!((1..=4).contains(&tries), "{tries}");
    }
}
