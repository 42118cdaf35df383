//! The threshold alarms of one shift, fed with green's meters at the end of each period.
//!
//! **Periods** are counted from the moment at which green first got a share, not from the wall clock's minutes: CloudWatch cuts at minutes
//! because many resources share its metrics, and the first datapoint of each is short for it. Here every period is whole. They run on over
//! the steps, so that breaches of two steps add up as they do in CloudWatch. A period in which a request ends is the one that it counts
//! in, whenever it was dealt.
//!
//! **Too little data**: beyond CloudWatch's own state, an alarm that is ok says so for a step only once M whole periods of that step are
//! over. Before that not even a total outage would have raised it, and a bake shorter than that would pass unseen.
//!
//! A look that comes later than a whole period makes one datapoint of all that came meanwhile: that nobody looked is no silence of green's.

use std::time::Duration;

use super::{Datapoint, Measure, Threshold, ThresholdAlarm};
use crate::{
    alarm::{AlarmState, Statistic},
    meter::{HistogramSnapshot, Reading},
    name::VariantName,
    time::Moment,
};

/// All threshold alarms of one shift. A raised one stays raised, with the datapoints that raised it.
#[derive(Clone, Debug)]
pub struct ThresholdBook {
    alarms: Vec<PeriodAlarm>,
    /// When the step began; `None` before the first.
    step_began: Option<Moment>,
}

/// Green's meters, or those of one of its variants, at one moment. They only ever grow, and start at zero with the shift.
#[derive(Clone, Copy, Debug)]
pub struct Totals<'a> {
    /// Its counters.
    pub reading: &'a Reading,
    /// Of complete answers, dispatch to last byte.
    pub latency: &'a HistogramSnapshot,
    /// Of answers' heads, dispatch to head.
    pub first_byte: &'a HistogramSnapshot,
    /// Of streams, dispatch to first token.
    pub first_token: &'a HistogramSnapshot,
    /// Of streams, token to token.
    pub token_gap: &'a HistogramSnapshot,
}

/// A threshold alarm with the numbers behind it.
#[derive(Clone, PartialEq, Debug)]
pub struct ThresholdEvidence {
    /// The rule.
    pub threshold: Threshold,
    /// What it says.
    pub state: AlarmState,
    /// The evaluation range: the periods that it looks at, the newest last; one without a sample is `None`.
    pub range: Vec<Option<Datapoint>>,
    /// How many of the evaluated datapoints breach.
    pub breaching: usize,
    /// How many more periods of this step must pass before it could have been raised; zero once enough have.
    pub lacking: usize,
}

impl ThresholdEvidence {
    /// How near the alarm is, 0 to 1: of the datapoints that must breach, how many do, or how near the newest value is to its bound.
    pub fn nearness(&self) -> f64 {
        match self.state {
            AlarmState::Alarm => return 1.0,
            AlarmState::Ok | AlarmState::InsufficientData => {}
        }
        let Threshold { comparison, bound, datapoints, .. } = &self.threshold;
        let newest = self.newest().map_or(0.0, |newest| comparison.nearness(newest.value, bound.value()));
        ((self.breaching as f64).max(newest) / *datapoints as f64).min(0.99)
    }
}

/// One alarm and its period.
#[derive(Clone, Debug)]
struct PeriodAlarm {
    threshold: Threshold,
    alarm: ThresholdAlarm,
    /// When the current period began.
    began: Moment,
    counted: Counted,
    /// Whole periods of the current step that are over.
    in_step: usize,
}

/// What a measure's meters had counted when the current period began.
#[derive(Clone, Debug)]
enum Counted {
    Times(Statistic, Which, Box<HistogramSnapshot>),
    /// The value's counter and the number of samples.
    Requests {
        value: u64,
        samples: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Latency,
    FirstByte,
    FirstToken,
    TokenGap,
}

impl ThresholdBook {
    /// The alarms of a plan, for meters of green that start at zero.
    pub fn new(thresholds: &[Threshold]) -> Self {
        let alarms = thresholds.iter().map(PeriodAlarm::new).collect();
        Self { alarms, step_began: None }
    }

    /// A bake begins. With the first, the first periods do.
    pub fn begin_step(&mut self, now: Moment) {
        for alarm in &mut self.alarms {
            if self.step_began.is_none() {
                alarm.began = now;
            }
            alarm.in_step = 0;
        }
        self.step_began = Some(now);
    }

    /// Whether a period is over, so that a look has something to see.
    pub fn is_due(&self, now: Moment) -> bool {
        self.step_began.is_some() && self.alarms.iter().any(|alarm| alarm.is_due(now))
    }

    /// When the next period is over; `None` before the first step, and without an alarm that could still be raised.
    pub fn due_at(&self) -> Option<Moment> {
        self.step_began?;
        let open = self.alarms.iter().filter(|alarm| !alarm.is_raised());
        open.map(|alarm| alarm.began.after(alarm.threshold.period)).min()
    }

    /// Whose meters a look needs: the variants of the alarms whose periods are over, each once, `None` for all of green.
    pub fn due_variants(&self, now: Moment) -> Vec<Option<VariantName>> {
        let mut due = Vec::new();
        for alarm in self.alarms.iter().filter(|alarm| alarm.is_due(now)) {
            if !due.contains(&alarm.threshold.variant) {
                due.push(alarm.threshold.variant.clone());
            }
        }
        due
    }

    /// Closes the periods that are over of the alarms that look at this variant, whose meters these are.
    pub fn look(&mut self, now: Moment, variant: Option<&VariantName>, totals: Totals<'_>) {
        let Some(step_began) = self.step_began else { return };
        let is_its = |alarm: &&mut PeriodAlarm| alarm.threshold.variant.as_ref() == variant;
        for alarm in self.alarms.iter_mut().filter(is_its).filter(|alarm| alarm.is_due(now)) {
            alarm.close(now, step_began, totals);
        }
    }

    /// The first raised alarm.
    pub fn raised(&self) -> Option<ThresholdEvidence> {
        self.alarms.iter().find(|alarm| alarm.is_raised()).map(PeriodAlarm::evidence)
    }

    /// Whether an alarm has too little data.
    pub fn lacks_data(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm.state() == AlarmState::InsufficientData)
    }

    /// What every alarm says, in the plan's order.
    pub fn evidence(&self) -> Vec<ThresholdEvidence> {
        self.alarms.iter().map(PeriodAlarm::evidence).collect()
    }
}

impl ThresholdEvidence {
    /// The newest datapoint with a sample.
    pub fn newest(&self) -> Option<Datapoint> {
        self.range.iter().rev().flatten().next().copied()
    }
}

impl PeriodAlarm {
    fn new(threshold: &Threshold) -> Self {
        Self {
            alarm: ThresholdAlarm::new(threshold.rule()),
            began: Moment::default(),
            counted: Counted::nothing(threshold.measure),
            in_step: 0,
            threshold: threshold.clone(),
        }
    }

    fn is_raised(&self) -> bool {
        self.alarm.state() == AlarmState::Alarm
    }

    fn is_due(&self, now: Moment) -> bool {
        !self.is_raised() && now.since(self.began) >= self.threshold.period
    }

    fn close(&mut self, now: Moment, step_began: Moment, totals: Totals<'_>) {
        if self.began >= step_began {
            self.in_step = self.in_step.saturating_add(1);
        }
        let period = self.threshold.period.as_nanos().max(1);
        let over = now.since(self.began).as_nanos() % period;
        let beyond = Duration::from_nanos(u64::try_from(over).unwrap_or(0));
        self.began = self.began.after(now.since(self.began).saturating_sub(beyond));
        let datapoint = self.counted.since_then(self.threshold.measure, totals);
        self.alarm.period(datapoint);
    }

    fn lacking(&self) -> usize {
        self.threshold.datapoints.saturating_sub(self.in_step)
    }

    fn state(&self) -> AlarmState {
        match self.alarm.state() {
            AlarmState::Ok if self.lacking() > 0 => AlarmState::InsufficientData,
            state @ (AlarmState::Ok | AlarmState::Alarm | AlarmState::InsufficientData) => state,
        }
    }

    fn evidence(&self) -> ThresholdEvidence {
        ThresholdEvidence {
            threshold: self.threshold.clone(),
            state: self.state(),
            range: self.alarm.range().collect(),
            breaching: self.alarm.breaching(),
            lacking: if self.is_raised() { 0 } else { self.lacking() },
        }
    }
}

impl Counted {
    fn nothing(measure: Measure) -> Self {
        match measure {
            Measure::Latency(statistic) => Self::Times(statistic, Which::Latency, Box::default()),
            Measure::FirstByte(statistic) => Self::Times(statistic, Which::FirstByte, Box::default()),
            Measure::FirstToken(statistic) => Self::Times(statistic, Which::FirstToken, Box::default()),
            Measure::TokenGap(statistic) => Self::Times(statistic, Which::TokenGap, Box::default()),
            Measure::ErrorRate | Measure::ClientErrorRate | Measure::Requests | Measure::Failures => {
                Self::Requests { value: 0, samples: 0 }
            }
        }
    }

    /// What was counted since; `None` without a sample. Counts from here on.
    fn since_then(&mut self, measure: Measure, totals: Totals<'_>) -> Option<Datapoint> {
        match self {
            Self::Times(statistic, which, before) => {
                let now = match which {
                    Which::Latency => totals.latency,
                    Which::FirstByte => totals.first_byte,
                    Which::FirstToken => totals.first_token,
                    Which::TokenGap => totals.token_gap,
                };
                let period = now.since(before);
                (**before).clone_from(now);
                Some(Datapoint { value: statistic.of(&period)?, samples: period.count() })
            }
            Self::Requests { value, samples } => {
                let (value_now, samples_now) = requests(measure, totals.reading);
                let (came, of) = (value_now.saturating_sub(*value), samples_now.saturating_sub(*samples));
                (*value, *samples) = (value_now, samples_now);
                let value = match measure {
                    Measure::ErrorRate | Measure::ClientErrorRate => came as f64 / of as f64,
                    Measure::Latency(_)
                    | Measure::FirstByte(_)
                    | Measure::FirstToken(_)
                    | Measure::TokenGap(_)
                    | Measure::Requests
                    | Measure::Failures => came as f64,
                };
                (of > 0).then_some(Datapoint { value, samples: of })
            }
        }
    }
}

/// What a measure counts, and of how many samples. Clients that went away and requests that found no room say nothing about answers.
fn requests(measure: Measure, reading: &Reading) -> (u64, u64) {
    let failed = reading.failed();
    let answered = reading.succeeded + reading.client_errors + failed;
    match measure {
        Measure::ErrorRate | Measure::Failures => (failed, answered),
        Measure::ClientErrorRate => (reading.client_errors, answered),
        Measure::Requests
        | Measure::Latency(_)
        | Measure::FirstByte(_)
        | Measure::FirstToken(_)
        | Measure::TokenGap(_) => (reading.dealt, reading.dealt),
    }
}
