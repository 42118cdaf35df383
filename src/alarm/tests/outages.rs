//! The guard with all of its money: how often a healthy green is called bad when a part waits for a sudden end, and how soon the end is found.
//!
//! One request per batch, in the order of dealing. Successes up to the next failure go in as one, cut where a part of the purse is due: they move
//! neither a run nor, but for their number, the evidence.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    super::{Dealing, Guard, GuardBound, outage::Reserve},
    Trial,
    simulation::{successes_before_a_failure, within},
};
use crate::meter::Run;

/// One guard from a shift's begin on.
struct Guarded {
    others: Trial,
    reserve: Reserve,
    dealt: u64,
    run: u64,
}

impl Guarded {
    fn new(below: f64, burst: u32, false_alarm: f64) -> Self {
        let guard =
            Guard { name: "errors".to_owned(), bound: GuardBound::ErrorRate { below }, burst: Some(burst) };
        let burst = Dealing::Deck.burst(guard.burst);
        let reserve = Reserve::of(&guard, burst, (1.0 / false_alarm).ln()).unwrap();
        Self { others: Trial::of(below, burst, 1), reserve, dealt: 0, run: 0 }
    }

    fn succeed(&mut self, mut requests: u32) {
        if requests > 0 {
            self.run = 0;
        }
        self.dealt += u64::from(requests);
        while requests > 0 {
            let part = requests.min(self.others.until_due());
            self.others.cohorts(part, 0.0, 0.0, true);
            requests -= part;
        }
    }

    /// Whether it raises the alarm, and whether the reserve does.
    fn fail(&mut self) -> (bool, bool) {
        self.others.cohorts(1, 1.0, 0.0, true);
        self.dealt += 1;
        self.run += 1;
        self.reserve.take_in(self.dealt, Run { length: self.run, dealt: self.dealt });
        let is_won = self.reserve.is_won();
        let cash = self.others.purse.cash();
        (is_won || self.others.test.reaches(self.reserve.threshold_of_others(), cash), is_won)
    }

    /// Requests of which each fails with this probability, up to the alarm or so many.
    fn serve(&mut self, rate: f64, requests: u64, rng: &mut StdRng) -> Option<u64> {
        let begin = self.dealt;
        let end = begin + requests;
        while self.dealt < end {
            let successes = u64::from(successes_before_a_failure(rate, rng)).min(end - self.dealt);
            self.succeed(u32::try_from(successes).unwrap());
            if self.dealt < end && self.fail().0 {
                return Some(self.dealt - begin);
            }
        }
        None
    }
}

/// The fractions of shifts in which a green at its bound is called bad, at all and by the reserve, when its failures come in groups of
/// so many, one after another.
fn false_alarms(below: f64, burst: u32, groups: impl Fn(&mut StdRng) -> u32, runs: u32) -> (f64, f64) {
    const REQUESTS: u64 = 20_000;
    let mut rng = StdRng::seed_from_u64(20_261_125);
    let (mut all, mut by_reserve) = (0.0, 0.0);
    for _ in 0..runs {
        let mut guarded = Guarded::new(below, burst, 0.05);
        let (mut is_raised, mut is_won) = (false, false);
        while guarded.dealt < REQUESTS && !is_won {
            for _ in 0..successes_before_a_failure(below, &mut rng).min(20_000) {
                let together = groups(&mut rng);
                guarded.succeed(together);
            }
            for _ in 0..groups(&mut rng) {
                let (raised, won) = guarded.fail();
                (is_raised, is_won) = (is_raised || raised, is_won || won);
            }
        }
        all += f64::from(u8::from(is_raised));
        by_reserve += f64::from(u8::from(is_won));
    }
    (all / f64::from(runs), by_reserve / f64::from(runs))
}

fn most(probability: f64, runs: u32) -> f64 {
    probability + 3.0 * (probability * (1.0 - probability) / f64::from(runs)).sqrt()
}

#[test]
fn a_green_at_its_bound_is_called_bad_as_seldom_as_promised_with_the_reserve_too() {
    const RUNS: u32 = 1_000;
    for below in [0.001, 0.01, 0.05] {
        let (all, by_reserve) = false_alarms(below, 1, |_| 1, RUNS);
        assert!(all > 0.0 && all <= most(0.05, RUNS), "{below}: {all}");
        assert!(by_reserve <= most(0.0025, RUNS), "{below}: {by_reserve} by runs");
    }
}

#[test]
fn failures_that_come_in_groups_of_as_many_as_the_burst_factor_says_break_no_promise() {
    const RUNS: u32 = 1_000;
    for below in [0.01, 0.05] {
        let (all, by_reserve) = false_alarms(below, 4, |_| 4, RUNS);
        assert!(all <= most(0.05, RUNS), "{below}: {all}");
        assert!(by_reserve <= most(0.0025, RUNS), "{below}: {by_reserve} by runs");
        let (all, by_reserve) = false_alarms(below, 4, |rng| rng.random_range(1..=4), RUNS);
        assert!(all <= most(0.05, RUNS), "{below}, of any size: {all}");
        assert!(by_reserve <= most(0.0025, RUNS), "{below}, of any size: {by_reserve} by runs");
    }
}

/// The table of `statistics.md` section 1.2 gives 3, 8, 7 and 10 for outages without the reserve; what is slower than an outage takes as long as
/// it says.
#[test]
fn an_outage_is_found_within_five_responses_after_tens_of_thousands_of_good_ones() {
    const RUNS: usize = 300;
    for (healthy, rate, median, high) in [
        (0, 1.0, 3, 3),
        (1_000, 1.0, 4, 4),
        (10_000, 1.0, 5, 5),
        (50_000, 1.0, 5, 5),
        (100_000, 1.0, 6, 6),
        (0, 0.2, 22, 47),
        (10_000, 0.2, 49, 82),
        (10_000, 0.03, 1_287, 2_256),
    ] {
        let mut rng = StdRng::seed_from_u64(20_261_125);
        let mut found: Vec<u64> = (0..RUNS)
            .map(|_| {
                let mut guarded = Guarded::new(0.01, 1, 0.001);
                guarded.serve(0.002, healthy, &mut rng);
                guarded.serve(rate, 200_000, &mut rng).expect("it is found")
            })
            .collect();
        found.sort_unstable();
        let (found_median, found_high) = (found[RUNS / 2], found[RUNS * 95 / 100]);
        if rate >= 1.0 {
            assert!(found_median <= median && found_high <= high, "{healthy}: {found_median} {found_high}");
        } else {
            within(found_median, median, 0.15, 1.0, (healthy, rate));
            within(found_high, high, 0.25, 2.0, (healthy, rate));
        }
    }
}
