use proptest::prelude::*;

use super::{
    super::{FleetPair, Purse, ShareTest, Tolerance, share::Labels},
    assert_near,
};

/// A regression with a purse of its own.
#[derive(Clone, Debug)]
pub(super) struct Contest {
    pub(super) test: ShareTest,
    pub(super) purse: Purse,
    dealt_since_bet: u64,
}

impl Contest {
    pub(super) fn new(share: f64, tolerance: Tolerance, steps: usize) -> Self {
        let mut contest =
            Self { test: ShareTest::new(tolerance, 1.0), purse: Purse::new(steps), dealt_since_bet: 0 };
        contest.begin_step(share);
        contest
    }

    pub(super) fn begin_step(&mut self, share: f64) {
        self.purse.begin_step();
        self.test.set_share(share);
    }

    pub(super) fn observe(&mut self, pair: FleetPair) {
        if pair != FleetPair::default() && self.purse.is_due() {
            self.test.bet(self.purse.draw());
            self.dealt_since_bet = 0;
        }
        self.dealt_since_bet += pair.green_dealt;
        self.test.observe(pair);
        self.purse.dealt(pair.green_dealt);
    }

    /// Green requests that may go in as one batch without passing by a part of the purse.
    pub(super) fn until_due(&self) -> u64 {
        64 - self.dealt_since_bet % 64
    }

    /// (green dealt, green failed, blue settled, blue failed); returns ln E.
    fn batch(&mut self, (green_dealt, green_failed, blue_settled, blue_failed): (u64, u64, u64, u64)) -> f64 {
        self.observe(FleetPair { green_dealt, green_failed, blue_settled, blue_failed });
        self.ln_e()
    }

    pub(super) fn ln_e(&self) -> f64 {
        self.test.ln_e(self.purse.cash())
    }
}

type Row = ((u64, u64, u64, u64), f64);

fn check(name: &str, contest: &mut Contest, rows: &[Row]) {
    for (place, (batch, expected)) in rows.iter().enumerate() {
        assert_near(contest.batch(*batch), *expected, format_args!("{name}, batch {place}"));
    }
}

#[test]
fn the_cells_at_a_share_of_a_tenth() {
    let labels = Labels::above(0.1);
    for (found, expected) in [
        (labels.green[0], 0.198450938724),
        (labels.blue[0], -0.0246926125904),
        (labels.green[11], 2.29809518772),
        (labels.blue[11], -5.30280727182),
    ] {
        assert_near(found, expected, expected);
    }
}

#[test]
fn one_step_without_tolerance() {
    let rows = [
        ((1, 0, 9, 0), 0.0),
        ((1, 1, 9, 0), 0.999534662119),
        ((3, 1, 20, 1), 1.23225459567),
        ((60, 0, 540, 3), 0.25272044105),
        ((10, 2, 90, 1), 1.75955747072),
        ((5, 2, 45, 0), 4.63440014881),
    ];
    check("10 %", &mut Contest::new(0.1, Tolerance::Ratio(1.0), 1), &rows);
    check("10 %, no points", &mut Contest::new(0.1, Tolerance::Points(0.0), 1), &rows);
}

#[test]
fn a_tolerance_in_percentage_points() {
    let mut contest = Contest::new(0.1, Tolerance::Points(0.005), 1);
    contest.test.remember_blue(5_000, 25);
    let rows = [
        ((1, 1, 9, 0), 0.924729727132),
        ((3, 1, 20, 0), 2.38125282176),
        ((60, 2, 540, 3), 1.36229821859),
        ((10, 4, 90, 1), 6.04894066085),
    ];
    check("0.5 %", &mut contest, &rows);
}

#[test]
fn a_tolerance_as_a_ratio() {
    let rows = [
        ((1, 0, 99, 1), -0.1160072838),
        ((2, 2, 198, 2), 2.76432154684),
        ((64, 3, 6_400, 60), 1.98810682374),
        ((5, 3, 450, 5), 6.40243034084),
    ];
    check("1.5x", &mut Contest::new(0.01, Tolerance::Ratio(1.5), 1), &rows);
}

#[test]
fn two_steps() {
    let mut contest = Contest::new(0.5, Tolerance::Ratio(1.0), 2);
    check("half", &mut contest, &[((10, 1, 10, 0), 0.134687161101), ((64, 1, 64, 0), 0.335626664588)]);
    contest.begin_step(0.9);
    check("most", &mut contest, &[((9, 3, 1, 0), 0.514240986257), ((90, 9, 10, 0), 1.13940050363)]);
}

#[test]
fn with_all_traffic_on_green_the_test_rests_and_keeps_what_it_has() {
    let mut contest = Contest::new(0.5, Tolerance::Ratio(1.0), 2);
    let before = contest.batch((10, 5, 10, 0));
    contest.begin_step(1.0);
    assert!(contest.test.rests());
    assert_near(contest.batch((50, 50, 0, 0)), before, "after a step to everything");
    assert_eq!(contest.test.least_failures(1.0, 6.9, 0.5), None);
}

#[test]
fn groups_of_failures_with_one_label_count_as_one_with_a_burst_factor() {
    let step = |burst: f64| {
        let mut test = ShareTest::new(Tolerance::Ratio(1.0), burst);
        test.set_share(0.1);
        test.bet(0.5);
        test
    };
    let (mut single, mut grouped) = (step(1.0), step(4.0));
    single.observe(FleetPair { green_failed: 3, blue_failed: 2, ..FleetPair::default() });
    grouped.observe(FleetPair { green_failed: 12, blue_failed: 8, ..FleetPair::default() });
    assert_near(grouped.ln_e(0.5), single.ln_e(0.5), "a quarter of four times as many");
}

#[test]
fn huge_counts_and_extreme_shares_are_numbers() {
    for share in [0.0001, 0.5, 0.9999] {
        for tolerance in [Tolerance::Ratio(1.0), Tolerance::Ratio(100.0), Tolerance::Points(0.5)] {
            for batch in
                [(1_000_000_000, 0, 1_000_000_000, 1_000_000_000), (1, 1_000_000_000, 1, 0), (9, 9, 9, 9)]
            {
                let mut contest = Contest::new(share, tolerance, 1);
                assert!(contest.batch(batch).is_finite(), "{share} {tolerance:?} {batch:?}");
                assert!(contest.batch((1, 1, 0, 0)).is_finite());
            }
        }
    }
}

proptest! {
    #[test]
    fn neither_splitting_batches_nor_their_order_changes_the_evidence(
        share in 0.001..0.999_f64,
        points in 0.0..0.2_f64,
        parts in prop::collection::vec((0_u64..6, 0_u64..4, 0_u64..60, 0_u64..4), 2..10),
    ) {
        let first = |_| {
            let mut contest = Contest::new(share, Tolerance::Points(points), 1);
            contest.batch((1, 0, 1, 0));
            contest
        };
        let [mut whole, mut split, mut turned] = [0, 1, 2].map(first);
        let sum = parts.iter().fold((0, 0, 0, 0), |sum, part| {
            (sum.0 + part.0, sum.1 + part.1, sum.2 + part.2, sum.3 + part.3)
        });
        whole.batch(sum);
        parts.iter().for_each(|part| { split.batch(*part); });
        parts.iter().rev().for_each(|part| { turned.batch(*part); });
        assert_near(split.ln_e(), whole.ln_e(), "split");
        assert_near(turned.ln_e(), whole.ln_e(), "turned");
    }

    #[test]
    fn the_test_says_early_that_it_cannot_reach_the_threshold_only_when_it_cannot(
        share in 0.001..0.999_f64,
        threshold in 0.7..12.0_f64,
        batches in prop::collection::vec((0_u64..20, 0_u64..4, 0_u64..20, 0_u64..4), 1..40),
    ) {
        let mut contest = Contest::new(share, Tolerance::Ratio(1.0), 2);
        for batch in batches {
            let ln_e = contest.batch(batch);
            prop_assert_eq!(contest.test.reaches(threshold, contest.purse.cash()), ln_e >= threshold);
        }
    }

    #[test]
    fn the_least_number_of_failures_raises_the_alarm_and_one_fewer_does_not(
        share in 0.001..0.999_f64,
        threshold in 3.0..12.0_f64,
    ) {
        let mut test = ShareTest::new(Tolerance::Ratio(1.0), 1.0);
        test.set_share(share);
        let least = test.least_failures(share, threshold, 0.5).unwrap();
        let after = |green_failed| {
            let mut test = test.clone();
            test.bet(0.5);
            test.observe(FleetPair { green_failed, ..FleetPair::default() });
            test.ln_e(0.0)
        };
        prop_assert!(after(least) >= threshold);
        prop_assert!(after(least - 1) < threshold);
    }
}
