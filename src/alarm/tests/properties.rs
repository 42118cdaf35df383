use proptest::prelude::*;

use super::{
    super::guard::{GuardTest, Tally, least_failures},
    Trial, assert_near,
};

/// Puts a first bet and returns the test.
fn with_a_bet(permitted: f64) -> Trial {
    let mut trial = Trial::new(permitted, 1);
    trial.batch(1, 0.0);
    trial
}

proptest! {
    #[test]
    fn neither_splitting_batches_nor_their_order_changes_the_evidence(
        permitted in 0.0001..0.9_f64,
        parts in prop::collection::vec((0_u32..6, 0_u32..3), 2..10),
    ) {
        let (mut whole, mut split, mut turned) =
            (with_a_bet(permitted), with_a_bet(permitted), with_a_bet(permitted));
        let sum = parts.iter().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        whole.batch(sum.0, f64::from(sum.1));
        for (requests, failures) in &parts {
            split.batch(*requests, f64::from(*failures));
        }
        for (requests, failures) in parts.iter().rev() {
            turned.batch(*requests, f64::from(*failures));
        }
        assert_near(split.ln_e(), whole.ln_e(), "split");
        assert_near(turned.ln_e(), whole.ln_e(), "turned");
    }

    #[test]
    fn each_further_failure_raises_the_evidence(permitted in 0.0001..0.9_f64) {
        let mut trial = Trial::new(permitted, 3);
        let mut before = trial.ln_e();
        prop_assert_eq!(before, 0.0);
        for request in 0..200 {
            let now = trial.batch(1, 1.0);
            prop_assert!(now > before, "request {}: {} after {}", request, now, before);
            before = now;
        }
    }

    #[test]
    fn the_test_says_early_that_it_cannot_reach_the_threshold_only_when_it_cannot(
        permitted in 0.001..0.5_f64,
        threshold in 0.7..12.0_f64,
        batches in prop::collection::vec((0_u32..100, 0_u32..4), 1..60),
    ) {
        let mut trial = Trial::new(permitted, 2);
        for (requests, failures) in batches {
            let ln_e = trial.batch(requests, f64::from(failures));
            prop_assert_eq!(trial.test.reaches(threshold, trial.purse.cash()), ln_e >= threshold);
        }
    }

    #[test]
    fn the_least_number_of_failures_raises_the_alarm_and_one_fewer_does_not(
        permitted in 0.0001..0.99_f64,
        threshold in 3.0..12.0_f64,
        steps in 1_usize..10,
    ) {
        let trial = Trial::new(permitted, steps);
        let money = trial.purse.first_part();
        let least = least_failures(permitted, 1.0, threshold, money);
        let wealth_after = |failures: u64| {
            let mut test = GuardTest::new(permitted, 1.0);
            test.bet(money);
            let failed = failures as f64;
            test.observe(Tally { requests: failed, failures: failed }, Tally::default());
            // The cash is left out, as the figure is to hold whatever it has become.
            test.ln_e(0.0)
        };
        prop_assert!(wealth_after(least) >= threshold);
        prop_assert!(wealth_after(least - 1) < threshold);
    }
}

#[test]
fn a_late_failure_without_a_request_counts() {
    let mut trial = with_a_bet(0.01);
    let before = trial.ln_e();
    assert!(trial.batch(0, 1.0) > before);
}

#[test]
fn a_request_that_leaves_takes_back_what_it_had_counted() {
    let mut trial = with_a_bet(0.01);
    let before = trial.ln_e();
    trial.test.observe(Tally { requests: 30.0, failures: 0.0 }, Tally::default());
    trial.test.observe(Tally { requests: -30.0, failures: 0.0 }, Tally::default());
    assert_near(trial.ln_e(), before, "after leaving");
}

#[test]
fn a_billion_requests_in_one_batch_are_numbers() {
    for permitted in [f64::MIN_POSITIVE, 1e-6, 0.01, 0.999, 1.0 - f64::EPSILON / 2.0] {
        for failures in [0.0, 1e6, 1e9] {
            let mut trial = Trial::new(permitted, 1);
            assert!(trial.batch(1_000_000_000, failures).is_finite(), "{permitted} {failures}");
            assert!(trial.batch(1, 1.0).is_finite());
        }
    }
}

#[test]
fn what_is_not_a_number_raises_the_alarm() {
    let mut trial = with_a_bet(0.01);
    assert!(!trial.test.reaches(6.9, trial.purse.cash()));
    trial.test.observe(Tally { requests: f64::NAN, failures: 0.0 }, Tally::default());
    assert!(trial.test.reaches(6.9, trial.purse.cash()));
}

#[test]
fn an_outage_is_told_from_chance_by_few_requests() {
    // ln 1000 nats, a plan of one step: three requests at a bound of 1 %, fifteen at a median.
    assert_eq!(least_failures(0.01, 1.0, 1000_f64.ln(), 0.5), 3);
    assert_eq!(least_failures(0.5, 1.0, 1000_f64.ln(), 0.5), 15);
    assert_eq!(least_failures(0.01, 1.0, 1000_f64.ln(), 0.0), u64::MAX);
}
