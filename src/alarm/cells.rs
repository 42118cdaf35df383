//! What all tests share: twelve cells of wealth, kept as logarithms.
//!
//! Each cell bets on one alternative to the permitted rate. The alternatives' distances from it in log-odds are geometric, from the odds
//! times 1.25 to a farthest one that each test names, so the mixture is at most ln 12 = 2.48 nats behind its best cell. Nothing leaves
//! the logarithms: a batch can add or take 70,000 nats, which no plain number could hold.

use std::cmp::Ordering;

/// The alternatives of a test. More would cost time and bring less than a nat.
pub(super) const CELLS: usize = 12;

/// One number for each alternative.
pub(super) type Cells = [f64; CELLS];

/// No money on any cell.
pub(super) const NOTHING: Cells = [f64::NEG_INFINITY; CELLS];

/// The alternatives' distances in log-odds: geometric from ln 1.25 to the farthest.
pub(super) fn distances(farthest: f64) -> Cells {
    let nearest = 1.25_f64.ln();
    std::array::from_fn(|cell| nearest * (farthest / nearest).powf(cell as f64 / (CELLS - 1) as f64))
}

/// ln(rate / (1 - rate)).
pub(super) fn log_odds(rate: f64) -> f64 {
    rate.ln() - (-rate).ln_1p()
}

/// ln of the rate with these log-odds, exact where the rate is nearly one; of its complement with the sign turned.
pub(super) fn ln_rate(log_odds: f64) -> f64 {
    // ln(1 / (1 + e^-x)), written so that no exponential overflows.
    log_odds.min(0.0) - (-log_odds.abs()).exp().ln_1p()
}

/// The logarithm of a sum of money on one cell, when it is divided evenly.
pub(super) fn even_part(money: f64) -> f64 {
    money.ln() - (CELLS as f64).ln()
}

/// ln(e^left + e^right).
pub(super) fn log_add(left: f64, right: f64) -> f64 {
    let (low, high) = if left < right { (left, right) } else { (right, left) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln(e^first + the sum of e^rest). Not a number as soon as one of them is not.
pub(super) fn log_sum<'a>(first: f64, rest: impl Iterator<Item = &'a f64> + Clone) -> f64 {
    // `f64::max` passes over what is not a number, so the sum is what tells.
    let most = rest.clone().copied().fold(first, f64::max);
    if most == f64::NEG_INFINITY {
        return if rest.clone().any(|term| term.is_nan()) { f64::NAN } else { most };
    }
    if most == f64::INFINITY && !first.is_nan() && rest.clone().all(|term| !term.is_nan()) {
        return most;
    }
    let sum: f64 = rest.map(|term| (term - most).exp()).sum();
    most + ((first - most).exp() + sum).ln()
}

/// Whether ln(e^first + the sum of e^rest), `terms` in all, reaches a threshold. A sum that is not a number does: going to blue is
/// always safe.
pub(super) fn reaches<'a>(
    first: f64,
    rest: impl Iterator<Item = &'a f64> + Clone,
    terms: usize,
    threshold: f64,
) -> bool {
    // No sum exceeds its largest term times the number of terms, so most batches need no exponential.
    let floor = threshold - (terms as f64).ln();
    if first < floor && rest.clone().all(|wealth| *wealth < floor) {
        return false;
    }
    log_sum(first, rest).partial_cmp(&threshold) != Some(Ordering::Less)
}

/// The least whole number, at least 1, for which a rising condition holds; `None` when it holds for none up to 2^53.
pub(super) fn least(holds: impl Fn(u64) -> bool) -> Option<u64> {
    const MOST: u64 = 1 << 53;
    let mut enough = 1;
    while !holds(enough) {
        if enough >= MOST {
            return None;
        }
        enough *= 2;
    }
    let mut too_few = enough / 2;
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if holds(middle) { enough = middle } else { too_few = middle }
    }
    Some(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_rates_are_exact_at_both_ends() {
        for log_odds in [-800.0, -20.0, -1.0, 0.0, 1.0, 20.0, 800.0] {
            let (rate, complement) = (ln_rate(log_odds), ln_rate(-log_odds));
            assert!(rate <= 0.0 && complement <= 0.0 && rate.is_finite(), "{log_odds}");
            assert!((rate - complement - log_odds).abs() <= 1e-12 * log_odds.abs(), "{log_odds}");
        }
        assert!((ln_rate(-20.0) - (-20.000_000_002_061_15)).abs() < 1e-12);
    }

    #[test]
    fn a_sum_with_something_that_is_no_number_is_none_and_raises_the_alarm_and_so_does_one_without_bounds() {
        let (none, all) = (f64::NEG_INFINITY, f64::INFINITY);
        for (first, rest) in [
            (f64::NAN, [0.0, 1.0]),
            (0.0, [f64::NAN, 1.0]),
            (none, [f64::NAN, none]),
            (none, [f64::NAN; 2]),
            (all, [f64::NAN, 1.0]),
        ] {
            assert!(log_sum(first, rest.iter()).is_nan(), "{first} {rest:?}");
            assert!(reaches(first, rest.iter(), 3, 7.0), "{first} {rest:?}");
        }
        assert_eq!(log_sum(none, [all, 1.0].iter()), all);
        assert!(reaches(none, [all, 1.0].iter(), 3, 7.0));
        assert!(!reaches(none, [none; 2].iter(), 3, 7.0));
    }

    #[test]
    fn the_least_number_is_found_wherever_it_lies() {
        for wanted in [1, 2, 3, 4, 5, 1000, (1 << 53) - 1, 1 << 53] {
            assert_eq!(least(|number| number >= wanted), Some(wanted));
        }
        assert_eq!(least(|_| false), None);
    }
}
