//! What a step can find before it is run: the smallest degradation found with 95 % power, and the requests that one takes.
//!
//! **Measures**, for a step of n green requests, the least number of failures that raises an alarm at its end (its *bar*), and from that the
//! probability that a green with a given rate reaches it.
//!
//! **Estimator**: the test's own formula with the money that goes in at a step's start; the probability is a binomial's tail, by the
//! regularised incomplete beta function (continued fraction by Lentz's method, as in Numerical Recipes 6.4). For a regression, blue's
//! failures are fixed at five of their quantiles and the results averaged.
//!
//! **Guarantee**: none, it is a forecast: it looks at the end of the step alone, so the true power is a little higher (0.94 to 0.98
//! simulated where 0.95 is said). **Cold start**: needs traffic and blue's rate, which whoever calls has measured. **Misses**: requests that fail
//! together, and traffic that changes.

use super::{
    Purse, Tally, Tolerance,
    cells::{self, log_sum},
    guard::Increments,
    share::{self, Labels},
};

/// The probability with which a degradation is to be found.
pub const POWER: f64 = 0.95;

/// The most requests that a forecast reaches to; beyond any bake.
const MOST_REQUESTS: u64 = 1 << 40;

/// One alarm in one step.
#[derive(Clone, Debug)]
pub struct Forecast {
    test: Test,
    /// ln of the evidence at which the alarm is raised, and what is put in at the step's start.
    threshold: f64,
    money: f64,
}

#[derive(Clone, Debug)]
enum Test {
    Guard { permitted: f64, increments: Increments },
    Regression { labels: Labels, blue_for_each: f64, blue_rate: f64, forgiven: f64, edge: f64 },
}

/// A regression, and how blue does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RegressionOutlook {
    /// Green's share, above 0 and below 1.
    pub share: f64,
    /// Blue's rate of failures; for a latency quantile the fraction beyond it.
    pub blue_rate: f64,
    /// By how much green may be worse.
    pub tolerance: Tolerance,
}

impl Forecast {
    /// A guard on this permitted probability of failure, raised at so many nats, in a plan with so many bakes.
    pub fn of_guard(permitted: f64, threshold: f64, bakes: usize) -> Self {
        let test = Test::Guard { permitted, increments: Increments::new(permitted) };
        Self { test, threshold, money: first_part(bakes) }
    }

    /// A regression, raised at so many nats, in a plan with so many bakes.
    pub fn of_regression(outlook: RegressionOutlook, threshold: f64, bakes: usize) -> Self {
        let RegressionOutlook { share, blue_rate, tolerance } = outlook;
        let (ratio, points) = match tolerance {
            Tolerance::Ratio(ratio) => (ratio, 0.0),
            Tolerance::Points(points) => (1.0, points),
        };
        let test = Test::Regression {
            labels: Labels::above(share::permitted(share, ratio)),
            blue_for_each: (1.0 - share) / share,
            blue_rate,
            // As if blue had been watched for long.
            forgiven: share::forgiven(points, 1e9, 1e9 * blue_rate),
            edge: (ratio * blue_rate + points).min(1.0),
        };
        Self { test, threshold, money: first_part(bakes) }
    }

    /// The same for failures that come so many together, at least 1.
    pub fn with_burst(mut self, burst: f64) -> Self {
        match &mut self.test {
            Test::Guard { permitted: _, increments } => *increments = increments.clone().divided_by(burst),
            Test::Regression { labels, blue_for_each: _, blue_rate: _, forgiven: _, edge: _ } => {
                *labels = labels.clone().divided_by(burst);
            }
        }
        self
    }

    /// The smallest rate of green's failures that so many of its requests find with [`POWER`]; `None` when they find nothing, not even a
    /// total outage: the step is blind.
    pub fn smallest_rate(&self, requests: u64) -> Option<f64> {
        let bars = self.bars(requests);
        (Self::power(&bars, requests, 1.0) >= POWER).then(|| {
            let (mut low, mut high) = (self.edge(), 1.0);
            while high - low > 1e-7 + 1e-5 * low {
                let middle = f64::midpoint(low, high);
                if Self::power(&bars, requests, middle) >= POWER { high = middle } else { low = middle }
            }
            high
        })
    }

    /// How many of green's requests find this rate of failures with [`POWER`]; `None` when it is within the bound, or so near it that
    /// no number does.
    pub fn requests_needed(&self, rate: f64) -> Option<u64> {
        let is_found = |requests| Self::power(&self.bars(requests), requests, rate) >= POWER;
        let mut enough = 1;
        while !is_found(enough) {
            if rate <= self.edge() || enough >= MOST_REQUESTS {
                return None;
            }
            enough *= 2;
        }
        let mut too_few = enough / 2;
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if is_found(middle) { enough = middle } else { too_few = middle }
        }
        Some(enough)
    }

    /// The greatest rate that the alarm permits.
    pub fn edge(&self) -> f64 {
        match &self.test {
            Test::Guard { permitted, .. } => *permitted,
            Test::Regression { edge, .. } => *edge,
        }
    }

    /// The bars of equally likely cases.
    fn bars(&self, requests: u64) -> Vec<Option<u64>> {
        match &self.test {
            Test::Guard { increments, .. } => vec![self.bar(requests, |failures| {
                let tally = Tally { requests: requests as f64, failures: failures as f64 };
                let wealth: cells::Cells =
                    std::array::from_fn(|cell| cells::even_part(self.money) + increments.of(cell, tally));
                log_sum(f64::NEG_INFINITY, wealth.iter())
            })],
            Test::Regression { labels, blue_for_each, blue_rate, forgiven, edge: _ } => {
                let blue = requests as f64 * blue_for_each;
                let cases =
                    [0.1, 0.3, 0.5, 0.7, 0.9].map(|part| binomial_quantile(blue.round(), *blue_rate, part));
                let bar = |failed: f64| {
                    let against = failed + forgiven * blue;
                    self.bar(requests, |failures| labels.value(failures as f64, against, self.money))
                };
                cases.map(bar).to_vec()
            }
        }
    }

    /// The least number of failures, up to all, at which the evidence reaches the threshold.
    fn bar(&self, requests: u64, evidence: impl Fn(u64) -> f64) -> Option<u64> {
        let (mut too_few, mut enough) = (0, requests);
        if evidence(requests) < self.threshold {
            return None;
        }
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if evidence(middle) >= self.threshold { enough = middle } else { too_few = middle }
        }
        Some(enough)
    }

    fn power(bars: &[Option<u64>], requests: u64, rate: f64) -> f64 {
        let of = |bar: &Option<u64>| bar.map_or(0.0, |bar| binomial_tail(requests as f64, rate, bar as f64));
        bars.iter().map(of).sum::<f64>() / bars.len() as f64
    }
}

/// What goes in at the start of one of so many bakes.
fn first_part(bakes: usize) -> f64 {
    let mut purse = Purse::new(bakes);
    purse.begin_step();
    purse.first_part()
}

/// P(Binomial(number, rate) >= least).
pub(super) fn binomial_tail(number: f64, rate: f64, least: f64) -> f64 {
    if least <= 0.0 || rate >= 1.0 {
        return 1.0;
    }
    if least > number || rate <= 0.0 {
        return 0.0;
    }
    incomplete_beta(least, number - least + 1.0, rate)
}

/// The least count that a binomial variable does not exceed with this probability.
fn binomial_quantile(number: f64, rate: f64, probability: f64) -> f64 {
    let (mut low, mut high) = (-1.0, number);
    while high - low > 1.0 {
        let middle = f64::midpoint(low, high).floor();
        if 1.0 - binomial_tail(number, rate, middle + 1.0) >= probability {
            high = middle
        } else {
            low = middle
        }
    }
    high
}

/// The regularised incomplete beta function I_x(a, b), for a and b of at least 1 and x between 0 and 1.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction of the incomplete beta function. It takes some square root of its arguments' size in turns.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const TURNS: u32 = 100_000;
    let held = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / held(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for turn in 1..TURNS {
        let m = f64::from(turn);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / held(1.0 + even * d);
        c = held(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / held(1.0 + odd * d);
        c = held(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    fraction
}

/// ln of the gamma function for arguments of at least 1, by Stirling's series after a shift to where it is exact.
fn ln_gamma(argument: f64) -> f64 {
    let (mut x, mut shift) = (argument, 0.0);
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    const LN_1000: f64 = 6.907_755_278_982_137;

    fn regression(share: f64, blue_rate: f64) -> Forecast {
        let outlook = RegressionOutlook { share, blue_rate, tolerance: Tolerance::Ratio(1.0) };
        Forecast::of_regression(outlook, LN_1000, 1)
    }

    /// Within half a unit of the last digit that the table gives, and a hundredth for other ways of rounding.
    fn assert_close(found: f64, expected: f64, digit: f64, what: impl std::fmt::Debug) {
        assert!(
            (found - expected).abs() <= 0.5 * digit + 0.01 * expected,
            "{what:?}: {found} is not {expected}"
        );
    }

    #[test]
    fn tails_of_binomials_are_right() {
        for (number, rate, least, expected) in [
            (10.0, 0.5, 5.0, 0.623_046_875),
            (3.0, 0.1, 1.0, 0.271),
            (1_000_000.0, 0.01, 10_000.0, 0.501_350),
            (20.0, 0.9, 20.0, 0.121_576_654_590_569_3),
        ] {
            assert!((binomial_tail(number, rate, least) - expected).abs() < 1e-6, "{number} {rate} {least}");
        }
        assert_eq!((binomial_tail(5.0, 0.1, 0.0), binomial_tail(5.0, 0.1, 6.0)), (1.0, 0.0));
        assert_eq!(binomial_quantile(10.0, 0.5, 0.5), 5.0);
        assert_eq!(binomial_quantile(100.0, 0.0, 0.9), 0.0);
    }

    #[test]
    fn the_smallest_rate_that_a_guard_finds_is_the_tables() {
        for (permitted, row) in [
            (
                0.01,
                [
                    (48, 20.7, 0.1),
                    (200, 8.3, 0.1),
                    (1_000, 3.6, 0.1),
                    (5_000, 1.99, 0.01),
                    (20_000, 1.46, 0.01),
                ],
            ),
            (
                0.05,
                [(48, 35.1, 0.1), (200, 17.0, 0.1), (1_000, 9.8, 0.1), (5_000, 7.0, 0.1), (20_000, 6.1, 0.1)],
            ),
        ] {
            let forecast = Forecast::of_guard(permitted, LN_1000, 1);
            for (requests, percent, digit) in row {
                let found = 100.0 * forecast.smallest_rate(requests).unwrap();
                assert_close(found, percent, digit, (permitted, requests));
            }
        }
    }

    #[test]
    fn the_smallest_rate_that_a_regression_finds_is_the_tables() {
        for (share, blue, row) in [
            (0.01, 0.005, [(48, 19.3, 0.1), (200, 6.9, 0.1), (1_000, 2.6, 0.1), (5_000, 1.26, 0.01)]),
            (0.1, 0.005, [(48, 22.4, 0.1), (200, 7.6, 0.1), (1_000, 2.7, 0.1), (5_000, 1.30, 0.01)]),
            (0.5, 0.005, [(48, 42.2, 0.1), (200, 12.6, 0.1), (1_000, 4.1, 0.1), (5_000, 1.66, 0.01)]),
            (0.1, 0.02, [(48, 29.7, 0.1), (200, 12.2, 0.1), (1_000, 5.7, 0.1), (5_000, 3.4, 0.1)]),
        ] {
            for (requests, percent, digit) in row {
                let found = 100.0 * regression(share, blue).smallest_rate(requests).unwrap();
                assert_close(found, percent, digit, (share, blue, requests));
            }
        }
    }

    #[test]
    fn the_requests_needed_are_the_tables() {
        let guard = Forecast::of_guard(0.01, LN_1000, 1);
        for (forecast, rate, expected) in [
            (&guard, 0.02, 4_864),
            (&guard, 0.05, 506),
            (&guard, 0.2, 57),
            (&regression(0.01, 0.005), 0.02, 1_650),
            (&regression(0.5, 0.005), 0.02, 3_514),
            (&regression(0.01, 0.005), 0.01, 10_117),
            (&regression(0.5, 0.005), 0.01, 20_052),
        ] {
            let found = forecast.requests_needed(rate).unwrap();
            assert_close(found as f64, f64::from(expected), 1.0, (rate, expected));
        }
    }

    #[test]
    fn failures_that_come_together_take_as_many_times_the_evidence() {
        for forecast in [Forecast::of_guard(0.01, LN_1000, 1), regression(0.1, 0.005)] {
            let (single, grouped) = (forecast.clone(), forecast.with_burst(4.0));
            let (single, grouped) = (single.requests_needed(1.0), grouped.requests_needed(1.0));
            assert!(grouped.unwrap() >= 3 * single.unwrap(), "{single:?} {grouped:?}");
        }
    }

    #[test]
    fn a_step_of_too_few_requests_is_blind_and_what_is_permitted_is_never_found() {
        let guard = Forecast::of_guard(0.01, LN_1000, 1);
        assert_eq!((guard.smallest_rate(2), guard.smallest_rate(0)), (None, None));
        assert!(guard.smallest_rate(3).unwrap() > 0.9);
        assert_eq!((guard.requests_needed(0.01), guard.requests_needed(1.0)), (None, Some(3)));
        assert_eq!(regression(0.1, 0.005).requests_needed(0.005), None);
    }
}
