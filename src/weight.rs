//! Green's share of an endpoint's requests, in basis points.

use std::fmt;

/// A share of the whole in basis points, 0 to 10,000. Invariant S1: green's share and blue's always add up to the whole,
/// because blue's is derived ([`Share::complement`]) and never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Share(u16);

/// Why a text or number is not a share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a share: write a percentage from 0% to 100% with at most two decimals, such as \"5%\" or \"0.25%\""
)]
pub struct ShareError(String);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(10_000);
    /// The number of basis points in the whole.
    pub const WHOLE: u16 = 10_000;

    /// From basis points, 0 to 10,000.
    pub fn from_basis_points(points: u16) -> Result<Self, ShareError> {
        if points <= Self::WHOLE {
            Ok(Self(points))
        } else {
            Err(ShareError(format!("{points} basis points")))
        }
    }

    /// Parses `5%`, `0.25%`, `100%`.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let error = || ShareError(text.chars().take(40).collect());
        let number = text.strip_suffix('%').ok_or_else(error)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 2 || whole.len() > 3 {
            return Err(error());
        }
        // Three digits and two: 99,999 at most, which a u16 does not hold.
        let whole: u32 = whole.parse().map_err(|_| error())?;
        let decimals: u32 = format!("{decimals:0<2}").parse().map_err(|_| error())?;
        let points = u16::try_from(whole * 100 + decimals).map_err(|_| error())?;
        Self::from_basis_points(points).map_err(|_| error())
    }

    /// Basis points, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// As a fraction, 0.0 to 1.0.
    pub fn as_fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// What is left for the other fleet.
    pub const fn complement(self) -> Self {
        Self(Self::WHOLE - self.0)
    }

    /// The sum, at most the whole.
    pub fn plus(self, other: Self) -> Self {
        Self((self.0 + other.0).min(Self::WHOLE))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 100, self.0 % 100);
        match decimals {
            0 => write!(f, "{whole}%"),
            _ if decimals % 10 == 0 => write!(f, "{whole}.{}%", decimals / 10),
            _ => write!(f, "{whole}.{decimals:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_reads_back_what_it_writes() {
        for points in [0, 1, 5, 25, 50, 100, 1_250, 9_999, 10_000] {
            let share = Share::from_basis_points(points).unwrap();
            assert_eq!(Share::parse(&share.to_string()).unwrap(), share);
        }
    }

    #[test]
    fn more_than_the_whole_less_than_nothing_or_no_percent_sign_is_refused() {
        for bad in
            ["", "%", "5", "100.01%", "101%", "-1%", "1.234%", "1.%", "1e1%", "656%", "999.99%", "999999%"]
        {
            assert!(Share::parse(bad).is_err(), "{bad}");
        }
    }
}
