//! The regression's test of latency: is green slower than blue at the same moments?
//!
//! **Measures** the evidence, in nats, that green's answers take longer than blue's. Four times are taken from blue's own distribution, its
//! p75, p90, p95 and p99; for each, a share test counts what took longer as failed. Green's answers may take the tolerance times as long.
//!
//! **Estimator**: the average of the four e-processes, which is one under any dependence between them (Vovk and Wang 2021); with a quantile
//! given, that one alone. Successes of the share test are never counted, so it does not matter that fast answers come back first.
//!
//! **Guarantee**: that of the share test, as long as green's latency is stochastically at most the tolerance times blue's. The times are taken
//! before the answers that they judge, so they may be anything: a poor estimate, or a blue that drifts, costs power alone.
//! Green's time is rounded up to the edge of a bucket of the histograms, which are read instead of single answers.
//!
//! **What counts**: complete answers of both fleets at their end, and of both what is still open when it reaches its time, at that moment and
//! once: a green that accepts and never answers is found as soon as it is late. What fails before has no latency; what fails later was
//! slow already. Open requests count if they were dealt after the times were taken. Of first tokens and gaps only what came is compared.
//!
//! **Cold start**: fewer than [`LEAST_ANSWERS`] answers of blue tell no quantile, and the test rests. **Units**: nats. **Misses**: shifts below
//! p75 alone, effects in rarer than one of a hundred answers.

use super::{FleetPair, ShareTest, Tolerance, cells::log_sum, tails::Counted};
use crate::meter::{Edge, HistogramSnapshot};

/// The quantiles of blue that green is compared at.
pub const QUANTILES: [f64; 4] = [0.75, 0.9, 0.95, 0.99];

/// How many answers of blue tell its quantiles: fewer say next to nothing of a p99.
pub const LEAST_ANSWERS: u64 = 100;

/// One latency regression's test.
#[derive(Clone, Debug)]
pub struct LatencyTest {
    ratio: f64,
    parts: Vec<Part>,
}

/// The comparison at one of blue's quantiles.
#[derive(Clone, Debug)]
struct Part {
    quantile: f64,
    marks: Option<Marks>,
    test: ShareTest,
    slow: Slow,
    /// Of those, answered.
    answered: Slow,
}

/// From which time on an answer counts as slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// For green: blue's, times the tolerance.
    pub green: Edge,
    /// For blue: its own quantile.
    pub blue: Edge,
}

/// Slow requests of both fleets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slow {
    /// Green's.
    pub green: u64,
    /// Blue's.
    pub blue: u64,
}

/// The comparison that speaks most against green.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Worst {
    /// Blue's quantile at which it is made.
    pub quantile: f64,
    /// From which times on answers count as slow; `None` until blue's quantiles are known.
    pub marks: Option<Marks>,
    /// Slow requests so far.
    pub slow: Slow,
    /// Of those, answered; the others are open, or failed after they were slow.
    pub answered: Slow,
}

impl Slow {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        let Self { green, blue } = self;
        Self { green: green.saturating_add(other.green), blue: blue.saturating_add(other.blue) }
    }

    /// Those that are not among others.
    pub(super) fn without(self, others: Self) -> Self {
        let Self { green, blue } = self;
        Self { green: green.saturating_sub(others.green), blue: blue.saturating_sub(others.blue) }
    }
}

impl LatencyTest {
    /// A test at one quantile, above 0 and below 1, or at all four. `ratio`, at least 1, is how many times as long green may take; `burst`,
    /// at least 1, how many slow answers may come together.
    pub fn new(quantile: Option<f64>, ratio: f64, burst: f64) -> Self {
        let part = |quantile| Part {
            quantile,
            marks: None,
            test: ShareTest::new(Tolerance::Ratio(1.0), burst),
            slow: Slow::default(),
            answered: Slow::default(),
        };
        let parts = match quantile {
            Some(quantile) => vec![part(quantile)],
            None => QUANTILES.map(part).to_vec(),
        };
        Self { ratio, parts }
    }

    /// A step begins in which green has this share. Blue's quantiles are to be taken anew.
    pub fn begin_step(&mut self, share: f64) {
        for part in &mut self.parts {
            part.marks = None;
        }
        self.set_share(share);
    }

    /// Green's share of the requests dealt from now on. At 0 or 1 the test rests.
    pub fn set_share(&mut self, share: f64) {
        for part in &mut self.parts {
            part.test.set_share(share);
        }
    }

    /// Whether there is nothing to compare green with.
    pub fn rests(&self) -> bool {
        self.parts.iter().all(|part| part.test.rests())
    }

    /// Whether blue's quantiles are still to be taken.
    pub fn lacks_marks(&self) -> bool {
        self.parts.iter().all(|part| part.marks.is_none())
    }

    /// Takes blue's quantiles from its distribution so far, if that tells them. A quantile beyond the histogram's range is left out.
    pub fn mark(&mut self, blue: &HistogramSnapshot) {
        if blue.count() < LEAST_ANSWERS {
            return;
        }
        for part in &mut self.parts {
            part.marks = blue.quantile(part.quantile).and_then(|time| {
                let green = Edge::at_or_above(time.mul_f64(self.ratio))?;
                Some(Marks { green, blue: Edge::at_or_above(time)? })
            });
        }
    }

    /// The marks of every comparison that has them.
    pub fn marks(&self) -> impl Iterator<Item = Marks> + '_ {
        self.parts.iter().filter_map(|part| part.marks)
    }

    /// Puts money on every comparison: the same on each, since their average counts.
    pub fn bet(&mut self, money: f64) {
        for part in &mut self.parts {
            part.test.bet(money);
        }
    }

    /// Takes in what was slower than each of the marks since the last look.
    pub fn observe(&mut self, slower: impl Fn(Marks) -> Slow) {
        self.take_in(|marks| Counted { slow: slower(marks), answered: slower(marks) });
    }

    /// The same where requests that are open are among them.
    pub(super) fn take_in(&mut self, slower: impl Fn(Marks) -> Counted) {
        for part in &mut self.parts {
            let Some(marks) = part.marks else { continue };
            let Counted { slow, answered } = slower(marks);
            part.slow = part.slow.plus(slow);
            part.answered = part.answered.plus(answered);
            part.test.observe(FleetPair {
                green_failed: slow.green,
                blue_failed: slow.blue,
                ..FleetPair::default()
            });
        }
    }

    /// The evidence against green: ln of the average wealth, `cash` being what was not put in.
    pub fn ln_e(&self, cash: f64) -> f64 {
        let each: Vec<f64> = self.parts.iter().map(|part| part.test.ln_e(cash)).collect();
        log_sum(f64::NEG_INFINITY, each.iter()) - (each.len() as f64).ln()
    }

    /// Whether the evidence reaches a threshold. One that is not a number does: going to blue is always safe.
    pub fn reaches(&self, threshold: f64, cash: f64) -> bool {
        // The average is at most the greatest, and most looks are far from the threshold.
        self.parts.iter().any(|part| part.test.reaches(threshold, cash))
            && (self.ln_e(cash) >= threshold || self.ln_e(cash).is_nan())
    }

    /// The least number of slow answers that raise the alarm if all of green's are slow and none of blue's is, with only this much money
    /// on them. `None` when no number does, or the test rests.
    pub fn least_failures(&self, share: f64, threshold: f64, money: f64) -> Option<u64> {
        self.parts.first().and_then(|part| part.test.least_failures(share, threshold, money))
    }

    /// Slow answers so far at each of blue's quantiles that are compared.
    pub fn slow(&self) -> Vec<Slow> {
        self.parts.iter().map(|part| part.slow).collect()
    }

    /// The comparison that speaks most against green.
    pub fn worst(&self) -> Worst {
        let ln_e = |part: &Part| part.test.ln_e(0.0);
        let worst = self.parts.iter().max_by(|left, right| ln_e(left).total_cmp(&ln_e(right)));
        let Part { quantile, marks, test: _, slow, answered } =
            worst.expect("there is at least one comparison");
        Worst { quantile: *quantile, marks: *marks, slow: *slow, answered: *answered }
    }
}
