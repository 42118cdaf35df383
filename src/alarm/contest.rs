//! One regression at work: from both fleets' counters to a verdict.

use super::{
    AlarmEvidence, AlarmState, Compared, FleetPair, LEAST_ANSWERS, LatencyTest, Marks, Regression,
    RegressionBound, Rule, ShareTest, Slow, Tolerance, tails::Counted,
};
use crate::meter::{HistogramSnapshot, Reading, Timing};

/// How many failures may come together where a sticky key deals whole clients: one broken client tries again and again.
const STICKY_BURST: u32 = 4;

/// The greatest share at which there is anything to compare with; a share seen by chance to be everything counts as this.
const NEARLY_ALL: f64 = 0.9999;

/// How requests come to their fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dealing {
    /// Each by a draw of its own from the deck.
    Deck,
    /// Each client by its key, so that green's share of requests may be another than its share of clients.
    Sticky,
}

/// One regression at work.
#[derive(Clone, Debug)]
pub(super) struct RegressionAlarm {
    regression: Regression,
    test: Test,
    threshold: f64,
    share: f64,
    seen: Seen,
    /// Green requests of the current step whose end told something, and how many of them the alarm needs.
    judged: u64,
    needed: u64,
    /// How many times of blue are known so far, where a regression takes its quantiles from them.
    blue_times: u64,
    raised: Option<AlarmEvidence>,
}

#[derive(Clone, Debug)]
enum Test {
    Failures(ShareTest),
    ClientErrors(ShareTest),
    Times(Timing, LatencyTest),
}

/// Sums over the shift.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    green_requests: u64,
    green_failures: u64,
    blue_requests: u64,
    blue_failures: u64,
}

/// What a fleet's requests have come to between two readings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Done {
    pub(super) dealt: u64,
    /// Complete answers, those that blame the client among them.
    pub(super) answered: u64,
    /// Streams whose first token came.
    pub(super) first_tokens: u64,
    /// Streams of whose gaps the mean is known.
    pub(super) paced: u64,
    pub(super) client_errors: u64,
    pub(super) failed: u64,
    /// Of the complete answers, those of warm-ups, whose times say nothing.
    pub(super) warm: u64,
}

impl Dealing {
    /// How many failures may come together, for a plan that says so or leaves it open.
    pub fn burst(self, stated: Option<u32>) -> f64 {
        let by_default = match self {
            Self::Deck => 1,
            Self::Sticky => STICKY_BURST,
        };
        f64::from(stated.unwrap_or(by_default).max(1))
    }
}

impl Done {
    /// A counter that shrank counts as no progress.
    pub(super) fn between(last: &Reading, now: &Reading) -> Self {
        let timed = |timing| now.timed(timing).saturating_sub(last.timed(timing));
        Self {
            dealt: now.dealt.saturating_sub(last.dealt),
            answered: timed(Timing::Latency),
            first_tokens: timed(Timing::FirstToken),
            paced: timed(Timing::TokenGap),
            client_errors: now.client_errors.saturating_sub(last.client_errors),
            failed: now.failed().saturating_sub(last.failed()),
            warm: now.warm_answers.saturating_sub(last.warm_answers),
        }
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Requests whose end told something.
    fn settled(self) -> u64 {
        self.answered + self.failed
    }

    /// Requests of which this time became known.
    fn timed(self, timing: Timing) -> u64 {
        match timing {
            Timing::Latency => self.answered.saturating_sub(self.warm),
            Timing::FirstToken => self.first_tokens,
            Timing::TokenGap => self.paced,
        }
    }
}

impl RegressionAlarm {
    /// `blue` is what its requests came to before the shift.
    pub(super) fn new(regression: &Regression, dealing: Dealing, blue: Done, threshold: f64) -> Self {
        let burst = dealing.burst(regression.burst);
        let rate = |tolerance: Tolerance, failures: u64| {
            let mut test = ShareTest::new(tolerance, burst);
            test.remember_blue(blue.settled(), failures);
            test
        };
        let test = match regression.bound {
            RegressionBound::ErrorRate { tolerance } => Test::Failures(rate(tolerance, blue.failed)),
            RegressionBound::ClientErrorRate { tolerance } => {
                Test::ClientErrors(rate(tolerance, blue.client_errors))
            }
            RegressionBound::Latency { quantile, ratio } => {
                Test::Times(Timing::Latency, LatencyTest::new(quantile, ratio, burst))
            }
            RegressionBound::FirstToken { quantile, ratio } => {
                Test::Times(Timing::FirstToken, LatencyTest::new(quantile, ratio, burst))
            }
            RegressionBound::TokenGap { quantile, ratio } => {
                Test::Times(Timing::TokenGap, LatencyTest::new(quantile, ratio, burst))
            }
        };
        let blue_times = regression.bound.timing().map_or(0, |timing| blue.timed(timing));
        Self {
            regression: regression.clone(),
            test,
            threshold,
            share: 0.0,
            seen: Seen::default(),
            judged: 0,
            needed: u64::MAX,
            blue_times,
            raised: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.regression.name
    }

    /// A step begins in which green has this share, and in which this much money goes in first.
    pub(super) fn begin_step(&mut self, share: f64, money: f64) {
        self.share = share;
        self.judged = 0;
        self.needed = match &mut self.test {
            Test::Failures(test) | Test::ClientErrors(test) => {
                test.set_share(share);
                test.least_failures(share, self.threshold, money)
            }
            Test::Times(_, test) => {
                test.begin_step(share);
                test.least_failures(share, self.threshold, money)
            }
        }
        .unwrap_or(u64::MAX);
    }

    /// Puts money in. Where clients are dealt, `seen` is green's share of this step's requests so far, and counts when it is larger.
    pub(super) fn bet(&mut self, money: f64, seen: Option<f64>) {
        let share =
            seen.map(|seen| seen.min(NEARLY_ALL)).filter(|seen| self.share < 1.0 && *seen > self.share);
        match &mut self.test {
            Test::Failures(test) | Test::ClientErrors(test) => {
                if let Some(share) = share {
                    test.set_share(share);
                }
                test.bet(money);
            }
            Test::Times(_, test) => {
                if let Some(share) = share {
                    test.set_share(share);
                }
                test.bet(money);
            }
        }
    }

    /// The time of which blue's quantiles are wanted.
    pub(super) fn lacks_marks(&self) -> Option<Timing> {
        match &self.test {
            Test::Failures(_) | Test::ClientErrors(_) => None,
            Test::Times(timing, test) => {
                (self.raised.is_none() && !test.rests() && test.lacks_marks()).then_some(*timing)
            }
        }
    }

    pub(super) fn mark(&mut self, blue: &HistogramSnapshot) {
        match &mut self.test {
            Test::Failures(_) | Test::ClientErrors(_) => {}
            Test::Times(_, test) => test.mark(blue),
        }
    }

    pub(super) fn marks(&self) -> Vec<(Timing, Marks)> {
        match &self.test {
            Test::Failures(_) | Test::ClientErrors(_) => Vec::new(),
            Test::Times(timing, test) => test.marks().map(|marks| (*timing, marks)).collect(),
        }
    }

    /// Takes in what both fleets' requests came to since the last look.
    pub(super) fn take_in(
        &mut self,
        green: Done,
        blue: Done,
        slow: impl Fn(Timing, Marks) -> Counted,
        cash: f64,
    ) {
        let timed = |done: Done| self.regression.bound.timing().map_or(0, |timing| done.timed(timing));
        self.blue_times = self.blue_times.saturating_add(timed(blue));
        if self.raised.is_some() || self.rests() {
            return;
        }
        let judged = match &self.test {
            Test::Failures(_) | Test::ClientErrors(_) => green.settled(),
            Test::Times(Timing::Latency, _) => green.settled().saturating_sub(green.warm),
            // Whether a request is a stream shows in its tokens alone.
            Test::Times(timing @ (Timing::FirstToken | Timing::TokenGap), _) => green.timed(*timing),
        };
        self.judged = self.judged.saturating_add(judged);
        let pair = |green_failed, blue_failed| FleetPair {
            green_dealt: green.dealt,
            green_failed,
            blue_settled: blue.settled(),
            blue_failed,
        };
        let is_raised = match &mut self.test {
            Test::Failures(test) => {
                self.seen.count((green.settled(), green.failed), (blue.settled(), blue.failed));
                test.observe(pair(green.failed, blue.failed));
                test.reaches(self.threshold, cash)
            }
            Test::ClientErrors(test) => {
                self.seen.count((green.settled(), green.client_errors), (blue.settled(), blue.client_errors));
                test.observe(pair(green.client_errors, blue.client_errors));
                test.reaches(self.threshold, cash)
            }
            Test::Times(_, test) if test.lacks_marks() => false,
            Test::Times(timing, test) => {
                self.seen.count((green.timed(*timing), 0), (blue.timed(*timing), 0));
                test.take_in(|marks| slow(*timing, marks));
                test.reaches(self.threshold, cash)
            }
        };
        if is_raised {
            self.raised = Some(AlarmEvidence { state: AlarmState::Alarm, missing: 0, ..self.evidence(cash) });
        }
    }

    /// With all traffic on green there is nothing to compare with; what was seen before stands.
    fn rests(&self) -> bool {
        match &self.test {
            Test::Failures(test) | Test::ClientErrors(test) => test.rests(),
            Test::Times(_, test) => test.rests(),
        }
    }

    pub(super) fn state(&self) -> AlarmState {
        if self.raised.is_some() {
            AlarmState::Alarm
        } else if self.missing() > 0 {
            AlarmState::InsufficientData
        } else {
            AlarmState::Ok
        }
    }

    /// How many more of green's requests the alarm needs in this step before it can tell anything.
    fn missing(&self) -> u64 {
        if self.share >= 1.0 {
            return 0;
        }
        let own = self.needed.saturating_sub(self.judged);
        if self.lacks_marks().is_none() {
            return own;
        }
        // Blue's times that are still missing take as many of green's as their shares say.
        let of_blue = LEAST_ANSWERS.saturating_sub(self.blue_times) as f64;
        let with_them = (of_blue * self.share / (1.0 - self.share)).ceil().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 100 times 10,000"
        )]
        own.max(with_them as u64)
    }

    /// Bad requests of both fleets so far, once for each quantile where there are several. Failures are told apart by stamps, and not here.
    pub(super) fn bad(&self) -> Vec<Slow> {
        match &self.test {
            Test::Failures(_) => Vec::new(),
            Test::ClientErrors(_) => {
                vec![Slow { green: self.seen.green_failures, blue: self.seen.blue_failures }]
            }
            Test::Times(_, test) => test.slow(),
        }
    }

    pub(super) fn raised(&self) -> Option<&AlarmEvidence> {
        self.raised.as_ref()
    }

    pub(super) fn evidence(&self, cash: f64) -> AlarmEvidence {
        if let Some(raised) = &self.raised {
            return raised.clone();
        }
        let Seen { mut green_requests, mut green_failures, mut blue_requests, mut blue_failures } = self.seen;
        let (ln_e, worst) = match &self.test {
            Test::Failures(test) | Test::ClientErrors(test) => (test.ln_e(cash), None),
            Test::Times(_, test) => (test.ln_e(cash), Some(test.worst())),
        };
        if let Some(worst) = worst {
            (green_failures, blue_failures) = (worst.slow.green, worst.slow.blue);
            // What is slow and has no answer is not among the answers.
            let unanswered = worst.slow.without(worst.answered);
            green_requests = green_requests.saturating_add(unanswered.green);
            blue_requests = blue_requests.saturating_add(unanswered.blue);
        }
        AlarmEvidence {
            name: self.regression.name.clone(),
            rule: Rule::Regression {
                bound: self.regression.bound,
                compared: Compared {
                    blue_requests,
                    blue_failures,
                    quantile: worst.map(|worst| worst.quantile),
                    times: worst
                        .and_then(|worst| worst.marks)
                        .map(|marks| (marks.green.time(), marks.blue.time())),
                },
            },
            state: self.state(),
            requests: green_requests,
            failures: green_failures,
            recent_requests: 0,
            recent_failures: 0,
            ln_e,
            threshold: self.threshold,
            missing: self.missing(),
        }
    }
}

impl Seen {
    /// (requests, failures) of green and of blue.
    fn count(&mut self, green: (u64, u64), blue: (u64, u64)) {
        self.green_requests += green.0;
        self.green_failures += green.1;
        self.blue_requests += blue.0;
        self.blue_failures += blue.1;
    }
}
