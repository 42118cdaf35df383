use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    super::{LatencyTest, Marks, Purse, Slow},
    assert_near,
    simulation::within,
};
use crate::meter::{Histogram, HistogramSnapshot};

/// Blue's answers: lognormal with a median of 100 ms and sigma 0.6.
fn seconds(rng: &mut StdRng) -> f64 {
    // Box and Muller.
    let (first, second) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    let normal = (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos();
    0.1 * (0.6 * normal).exp()
}

fn distribution(answers: usize, rng: &mut StdRng) -> HistogramSnapshot {
    let (histogram, mut snapshot) = (Histogram::default(), HistogramSnapshot::default());
    (0..answers).for_each(|_| histogram.record(Duration::from_secs_f64(seconds(rng))));
    histogram.add_to(&mut snapshot);
    snapshot
}

/// One shift: a test at a share, marked by so many of blue's answers.
struct Race {
    share: f64,
    test: LatencyTest,
    purse: Purse,
}

impl Race {
    fn new(share: f64, ratio: f64, quantile: Option<f64>, answers: usize, rng: &mut StdRng) -> Self {
        let mut test = LatencyTest::new(quantile, ratio, 1.0);
        test.begin_step(share);
        test.mark(&distribution(answers, rng));
        let mut purse = Purse::new(1);
        purse.begin_step();
        Self { share, test, purse }
    }

    /// Green answers, each as long as blue's would be times what `slower` says, up to the alarm.
    fn alarm_after(
        &mut self,
        most: u64,
        false_alarm: f64,
        rng: &mut StdRng,
        slower: impl Fn(&mut StdRng) -> f64,
    ) -> Option<u64> {
        let threshold = (1.0 / false_alarm).ln();
        let reached = |time: f64, marks: Marks| {
            let edge = |edge: crate::meter::Edge| u64::from(time >= edge.time().as_secs_f64());
            (edge(marks.green), edge(marks.blue))
        };
        let mut green_done = 0;
        while green_done < most {
            let is_green = rng.random::<f64>() < self.share;
            let time = seconds(rng) * if is_green { slower(rng) } else { 1.0 };
            if is_green && self.purse.is_due() {
                self.test.bet(self.purse.draw());
            }
            self.test.observe(|marks| match (is_green, reached(time, marks)) {
                (true, (green, _)) => Slow { green, blue: 0 },
                (false, (_, blue)) => Slow { green: 0, blue },
            });
            if is_green {
                green_done += 1;
                self.purse.dealt(1);
                if self.test.reaches(threshold, self.purse.cash()) {
                    return Some(green_done);
                }
            }
        }
        None
    }
}

/// Median and 95 % quantile of green requests to the alarm.
fn needed(
    runs: usize,
    race: impl Fn(&mut StdRng) -> Race,
    slower: impl Fn(&mut StdRng) -> f64 + Copy,
) -> (u64, u64) {
    let mut rng = StdRng::seed_from_u64(20_261_124);
    let mut alarms: Vec<u64> = (0..runs)
        .map(|_| race(&mut rng).alarm_after(100_000, 0.001, &mut rng, slower).expect("it is found"))
        .collect();
    alarms.sort_unstable();
    (alarms[runs / 2], alarms[runs * 95 / 100])
}

#[test]
fn a_slower_green_is_found_after_as_many_requests_as_the_table_says() {
    for (share, ratio, quantile, slower, median, high) in [
        (0.1, 1.0, None, 2.0, 32, 60),
        (0.1, 1.0, None, 5.0, 8, 12),
        (0.5, 1.0, None, 2.0, 67, 111),
        (0.5, 1.0, None, 1.3, 418, 843),
        (0.1, 1.0, Some(0.95), 2.0, 31, 66),
    ] {
        let race = |rng: &mut StdRng| Race::new(share, ratio, quantile, 2_000, rng);
        let found = needed(60, race, |_| slower);
        within(found.0, median, 0.25, 1.0, (share, slower, quantile));
        within(found.1, high, 0.35, 2.0, (share, slower, quantile));
    }
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn the_whole_table_of_latency_holds() {
    let five_of_a_hundred = |rng: &mut StdRng| if rng.random::<f64>() < 0.05 { 3.0 } else { 1.0 };
    for (share, median, high) in [(0.01, 1_098, 2_133), (0.1, 1_219, 2_559), (0.5, 2_425, 4_825)] {
        let found = needed(200, |rng| Race::new(share, 1.0, None, 5_000, rng), five_of_a_hundred);
        within(found.0, median, 0.25, 1.0, share);
        within(found.1, high, 0.35, 2.0, share);
    }
    for (slower, ratio, median) in [(1.1, 1.0, 1_758), (1.3, 1.0, 225), (1.3, 1.1, 632), (1.3, 1.2, 2_725)] {
        let found = needed(200, |rng| Race::new(0.1, ratio, None, 5_000, rng), |_| slower);
        within(found.0, median, 0.25, 1.0, (slower, ratio));
    }
    for answers in [200, 5_000] {
        let mut rng = StdRng::seed_from_u64(1);
        let wrong = (0..300)
            .filter(|_| {
                let mut race = Race::new(0.5, 1.2, None, answers, &mut rng);
                race.alarm_after(10_000, 0.05, &mut rng, |_| 1.2).is_some()
            })
            .count();
        assert!(wrong as f64 / 300.0 <= 0.05 + 3.0 * (0.05 * 0.95 / 300.0_f64).sqrt(), "{answers}: {wrong}");
    }
}

#[test]
fn an_equal_green_is_called_slow_less_often_than_promised_even_by_a_poor_estimate_of_blue() {
    let mut rng = StdRng::seed_from_u64(20_261_124);
    let wrong = (0..100)
        .filter(|_| {
            let mut race = Race::new(0.5, 1.0, None, 200, &mut rng);
            race.alarm_after(1_000, 0.05, &mut rng, |_| 1.0).is_some()
        })
        .count();
    assert!(wrong as f64 / 100.0 <= 0.05 + 3.0 * (0.05 * 0.95 / 100.0_f64).sqrt(), "{wrong}");
}

#[test]
fn marks_are_blues_quantiles_and_greens_the_tolerance_times_as_long_rounded_up() {
    let mut rng = StdRng::seed_from_u64(1);
    let blue = distribution(1_000, &mut rng);
    let mut test = LatencyTest::new(Some(0.9), 1.2, 1.0);
    test.begin_step(0.1);
    assert!(test.lacks_marks() && test.marks().next().is_none());
    test.mark(&distribution(99, &mut rng));
    assert!(test.lacks_marks(), "99 answers tell no quantile");
    test.mark(&blue);
    let Marks { green, blue: mark } = test.marks().next().unwrap();
    let p90 = blue.quantile(0.9).unwrap();
    assert_eq!(mark.time(), p90);
    let (low, high) = (p90.mul_f64(1.2), p90.mul_f64(1.2 * (1.0 + 1.0 / 64.0)));
    assert!((low..=high).contains(&green.time()), "{:?}", green.time());
    test.begin_step(1.0);
    assert!(test.rests() && test.lacks_marks());
}

#[test]
fn evidence_is_the_average_of_the_comparisons_and_the_worst_is_told() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut race = Race::new(0.1, 1.0, None, 1_000, &mut rng);
    assert_near(race.test.ln_e(1.0), 0.0, "nothing was put in");
    race.test.bet(race.purse.draw());
    let p99 = race.test.marks().last().unwrap();
    race.test.observe(|marks| if marks == p99 { Slow { green: 3, blue: 0 } } else { Slow::default() });
    let cash = race.purse.cash();
    let mut alone = LatencyTest::new(Some(0.99), 1.0, 1.0);
    alone.begin_step(0.1);
    alone.mark(&distribution(1_000, &mut rng));
    alone.bet(0.5);
    alone.observe(|_| Slow { green: 3, blue: 0 });
    assert_near(race.test.ln_e(cash), ((alone.ln_e(cash).exp() + 3.0) / 4.0).ln(), "average");
    let worst = race.test.worst();
    assert_eq!((worst.quantile, worst.slow), (0.99, Slow { green: 3, blue: 0 }));
}

/// Two fleets whose requests come at random moments, faster and slower by turns, and of which a part is never answered. What is open at its
/// mark is slow then.
#[derive(Clone, Copy, Debug)]
struct Hanging {
    share: f64,
    ratio: f64,
    /// Of green's requests and of blue's, how many hang.
    hang: [f64; 2],
    /// How many times as long as blue's green's answers take.
    slower: f64,
}

impl Hanging {
    /// The number of green requests dealt, and of them answered, at the alarm, if it is raised before so many were dealt.
    fn alarm_after(&self, most: u64, false_alarm: f64, rng: &mut StdRng) -> Option<(u64, u64)> {
        let Race { test: mut race, mut purse, .. } = Race::new(self.share, self.ratio, None, 2_000, rng);
        let marks: Vec<Marks> = race.marks().collect();
        // (when, for which of the marks something is slow; none where one is dealt or answered, whether green's)
        let mut happenings: Vec<(f64, Option<usize>, bool, bool)> = Vec::new();
        let (mut now, mut dealt) = (0.0, 0);
        while dealt < most {
            let is_busy = (now / 0.3) % 2.0 < 1.0;
            now += -(1.0 - rng.random::<f64>()).ln() / if is_busy { 2_000.0 } else { 200.0 };
            let is_green = rng.random::<f64>() < self.share;
            let [green_hangs, blue_hangs] = self.hang;
            let (hangs, slower) = if is_green { (green_hangs, self.slower) } else { (blue_hangs, 1.0) };
            let takes = if rng.random::<f64>() < hangs { 1e9 } else { slower * seconds(rng) };
            dealt += u64::from(is_green);
            happenings.push((now, None, is_green, true));
            happenings.push((now + takes, None, is_green, false));
            for (place, marks) in marks.iter().enumerate() {
                let mark = if is_green { marks.green } else { marks.blue }.time().as_secs_f64();
                if takes >= mark {
                    happenings.push((now + mark, Some(place), is_green, false));
                }
            }
        }
        happenings.retain(|(at, ..)| *at <= now);
        happenings.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut dealt, mut answered) = (0, 0);
        for (_, mark, is_green, is_dealt) in happenings {
            match mark {
                None if is_green && is_dealt => {
                    if purse.is_due() {
                        race.bet(purse.draw());
                    }
                    dealt += 1;
                    purse.dealt(1);
                }
                None => answered += u64::from(is_green && !is_dealt),
                Some(place) => {
                    let slow = Slow { green: u64::from(is_green), blue: u64::from(!is_green) };
                    race.observe(|of| if of == marks[place] { slow } else { Slow::default() });
                    if race.reaches((1.0 / false_alarm).ln(), purse.cash()) {
                        return Some((dealt, answered));
                    }
                }
            }
        }
        None
    }
}

#[test]
fn an_equal_green_of_which_as_much_hangs_as_of_blue_is_called_slow_less_often_than_promised() {
    const RUNS: u32 = 200;
    for (share, ratio, slower) in [(0.1, 1.0, 1.0), (0.5, 1.0, 1.0), (0.5, 1.2, 1.2)] {
        let hanging = Hanging { share, ratio, hang: [0.02; 2], slower };
        let mut rng = StdRng::seed_from_u64(20_261_125);
        let wrong = (0..RUNS).filter(|_| hanging.alarm_after(500, 0.05, &mut rng).is_some()).count();
        let rate = wrong as f64 / f64::from(RUNS);
        assert!(rate <= 0.05 + 3.0 * (0.05 * 0.95 / f64::from(RUNS)).sqrt(), "{hanging:?}: {rate}");
    }
}

#[test]
fn a_green_that_hangs_is_found_by_a_comparison_without_an_answer_and_one_of_which_a_tenth_hangs_soon() {
    for (hangs, median) in [(1.0, 8), (0.1, 700)] {
        let hanging = Hanging { share: 0.1, ratio: 1.0, hang: [hangs, 0.0], slower: 1.0 };
        let mut rng = StdRng::seed_from_u64(20_261_125);
        let mut found: Vec<_> =
            (0..40).map(|_| hanging.alarm_after(4_000, 0.001, &mut rng).expect("it is found")).collect();
        found.sort_unstable();
        let (dealt, answered) = found[20];
        // Those dealt within blue's p99, some 400 ms, before it are open and cannot be late.
        assert!(dealt <= median + 80, "{hangs}: {dealt}");
        assert!(hangs < 1.0 || answered == 0, "{answered}");
    }
}
