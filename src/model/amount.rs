//! How much of a quota: whole numbers, which people write with the units of memory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount: bytes, or whatever a quota counts. In JSON it is a string, since it may grow past 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(u64);

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid amount {text:?}: {reason}")]
pub struct ParseAmountError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Units that may follow a number, those of which people are shown first.
const UNITS: [(&str, u64); 9] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

/// So many units are used for showing. A kibibyte is not: a thousand and twenty-four of something need not be bytes.
const UNITS_SHOWN: usize = 4;

impl Amount {
    /// Wraps a number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Amount {
    /// In the largest unit that divides it, so that nothing is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |(_, size): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*size);
        match UNITS[..UNITS_SHOWN].iter().find(divides) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let fail = |reason| ParseAmountError {
            text: text.to_owned(),
            reason,
        };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(fail("a whole number is needed, such as 3, 500MiB or 2GiB"));
        }
        let size = match unit {
            "" => 1,
            unit => UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, size)| *size)
                .ok_or_else(|| fail("the units are KiB, MiB, GiB, TiB, PiB, kB, MB, GB and TB"))?,
        };
        let number = number.parse::<u64>().ok();
        number
            .and_then(|number| number.checked_mul(size))
            .map(Self)
            .ok_or_else(|| fail("it is larger than 64 bits can hold"))
    }
}

impl TryFrom<String> for Amount {
    type Error = ParseAmountError;

    fn try_from(text: String) -> Result<Self, ParseAmountError> {
        text.parse()
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_amount_is_written_with_the_units_of_memory() {
        for (text, number, shown) in [
            ("3", 3, "3"),
            ("0", 0, "0"),
            ("1024", 1024, "1024"),
            ("500MiB", 500 << 20, "500MiB"),
            ("2048MiB", 2 << 30, "2GiB"),
            ("1KiB", 1024, "1024"),
            ("2GB", 2_000_000_000, "2000000000"),
            ("18446744073709551615", u64::MAX, "18446744073709551615"),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(
                (amount.get(), amount.to_string().as_str()),
                (number, shown),
                "{text}"
            );
        }
        for bad in [
            "",
            "-1",
            "+1",
            "1.5GiB",
            "GiB",
            "2 GiB",
            "2gib",
            "2G",
            "0x10",
            "1e3",
            "٣",
            "18446744073709551616",
            "99999999999999999999999",
            "16777216PiB",
            "NaN",
        ] {
            assert!(bad.parse::<Amount>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(number in any::<u64>(), shift in 0_u32..64) {
            for amount in [Amount::new(number), Amount::new(number << shift)] {
                prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            }
        }
    }
}
