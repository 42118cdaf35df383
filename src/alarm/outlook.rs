//! What a plan's numbers will do to a healthy green: the budget of failures, and failures that come together.
//!
//! Forecasts for whoever checks a plan before it is run, from what blue's traffic did in the last hour.

use super::detect::binomial_tail;

/// The chance above which a healthy green is too likely to spend a budget of failures.
pub const BUDGET_CHANCE: f64 = 0.01;

/// How likely a green that fails as often as blue spends a budget of so many failures within so many requests: the tail of a binomial
/// variable.
pub fn chance_of_spending(requests: u64, blue_rate: f64, max_failures: u64) -> f64 {
    binomial_tail(requests as f64, blue_rate, max_failures as f64)
}

/// The least budget of failures that such a green spends with at most [`BUDGET_CHANCE`].
pub fn sufficient_budget(requests: u64, blue_rate: f64) -> u64 {
    let (mut too_small, mut enough) = (0, requests.saturating_add(1));
    while enough - too_small > 1 {
        let middle = too_small + (enough - too_small) / 2;
        if chance_of_spending(requests, blue_rate, middle) <= BUDGET_CHANCE {
            enough = middle;
        } else {
            too_small = middle;
        }
    }
    enough
}

/// The burst factor that fits green, from blue's requests and failures in slices of a second: how much more its failures per slice vary than
/// if they came one by one, scaled down to the fewer requests that green gets in the same time. `share` is green's, above 0 and
/// below 1.
pub fn fitting_burst(slices: &[(u64, u64)], share: f64) -> f64 {
    let (requests, failures) =
        slices.iter().fold((0, 0), |(requests, failures), slice| (requests + slice.0, failures + slice.1));
    let rate = failures as f64 / requests.max(1) as f64;
    let busy = || slices.iter().filter(|(requests, _)| *requests > 0);
    if busy().next().is_none() || rate <= 0.0 || rate >= 1.0 {
        return 1.0;
    }
    let spread = |(requests, failures): &(u64, u64)| {
        let expected = *requests as f64 * rate;
        (*failures as f64 - expected).powi(2) / (expected * (1.0 - rate))
    };
    let of_blue = (busy().map(spread).sum::<f64>() / busy().count() as f64).max(1.0);
    1.0 + (of_blue - 1.0) * (share / (1.0 - share)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_green_spends_a_budget_as_often_as_a_binomial_says() {
        // 10,000 requests at 0.1 %: ten failures on average, one in a hundred times 19 or more.
        assert!((chance_of_spending(10_000, 0.001, 10) - 0.542).abs() < 0.002);
        assert_eq!(sufficient_budget(10_000, 0.001), 19);
        assert!(chance_of_spending(10_000, 0.001, 19) <= BUDGET_CHANCE);
        assert!(chance_of_spending(10_000, 0.001, 18) > BUDGET_CHANCE);
        assert_eq!((sufficient_budget(10_000, 0.0), sufficient_budget(0, 0.5)), (1, 1));
        assert_eq!(sufficient_budget(10, 1.0), 11);
    }

    #[test]
    fn failures_in_bursts_ask_for_a_burst_factor_and_even_ones_do_not() {
        let even = [(100, 1); 60];
        assert_eq!(fitting_burst(&even, 0.5), 1.0);
        let mut burst = [(500, 2); 60];
        burst[30] = (500, 250);
        let (half, tenth) = (fitting_burst(&burst, 0.5), fitting_burst(&burst, 0.1));
        assert!(half > 10.0 && (tenth - 1.0 - (half - 1.0) / 9.0).abs() < 1e-9, "{half} {tenth}");
        for nothing in [&[][..], &[(0, 0)], &[(10, 0)], &[(10, 10)]] {
            assert_eq!(fitting_burst(nothing, 0.5), 1.0);
        }
    }
}
