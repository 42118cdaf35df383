//! Guards and regressions as a shift's report in the journal keeps them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AlarmView, report::nanos};
use crate::alarm::{AlarmEvidence, AlarmState, Compared, GuardBound, RegressionBound, Rule, Tolerance};

/// A guard or a regression.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AlarmForm {
    name: String,
    bound: BoundForm,
    /// Of regressions alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compared: Option<ComparedForm>,
    state: StateForm,
    requests: u64,
    failures: u64,
    /// Zero in reports of versions that did not know it.
    #[serde(default)]
    recent_requests: u64,
    #[serde(default)]
    recent_failures: u64,
    /// JSON has no infinity; evidence beyond all numbers is kept as none.
    ln_e: Option<f64>,
    threshold: f64,
    missing: u64,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BoundForm {
    ErrorRate { below: f64 },
    Latency { quantile: f64, below_nanos: u64 },
    FirstToken { quantile: f64, below_nanos: u64 },
    TokenGap { quantile: f64, below_nanos: u64 },
    ErrorRateAgainstBlue(ToleranceForm),
    ClientErrorRateAgainstBlue(ToleranceForm),
    LatencyAgainstBlue { quantile: Option<f64>, ratio: f64 },
    FirstTokenAgainstBlue { quantile: Option<f64>, ratio: f64 },
    TokenGapAgainstBlue { quantile: Option<f64>, ratio: f64 },
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToleranceForm {
    Ratio(f64),
    Points(f64),
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct ComparedForm {
    blue_requests: u64,
    blue_failures: u64,
    quantile: Option<f64>,
    green_nanos: Option<u64>,
    blue_nanos: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateForm {
    Ok,
    Alarm,
    InsufficientData,
}

impl BoundForm {
    fn of_guard(bound: &GuardBound) -> Self {
        match *bound {
            GuardBound::ErrorRate { below } => Self::ErrorRate { below },
            GuardBound::Latency { quantile, below } => Self::Latency { quantile, below_nanos: nanos(below) },
            GuardBound::FirstToken { quantile, below } => {
                Self::FirstToken { quantile, below_nanos: nanos(below) }
            }
            GuardBound::TokenGap { quantile, below } => {
                Self::TokenGap { quantile, below_nanos: nanos(below) }
            }
        }
    }

    fn of_regression(bound: &RegressionBound) -> Self {
        let form = |tolerance: Tolerance| match tolerance {
            Tolerance::Ratio(ratio) => ToleranceForm::Ratio(ratio),
            Tolerance::Points(points) => ToleranceForm::Points(points),
        };
        match *bound {
            RegressionBound::ErrorRate { tolerance } => Self::ErrorRateAgainstBlue(form(tolerance)),
            RegressionBound::ClientErrorRate { tolerance } => {
                Self::ClientErrorRateAgainstBlue(form(tolerance))
            }
            RegressionBound::Latency { quantile, ratio } => Self::LatencyAgainstBlue { quantile, ratio },
            RegressionBound::FirstToken { quantile, ratio } => {
                Self::FirstTokenAgainstBlue { quantile, ratio }
            }
            RegressionBound::TokenGap { quantile, ratio } => Self::TokenGapAgainstBlue { quantile, ratio },
        }
    }

    fn rule(self, compared: Compared) -> Rule {
        let tolerance = |form: ToleranceForm| match form {
            ToleranceForm::Ratio(ratio) => Tolerance::Ratio(ratio),
            ToleranceForm::Points(points) => Tolerance::Points(points),
        };
        let bound = match self {
            Self::ErrorRate { below } => return Rule::Guard(GuardBound::ErrorRate { below }),
            Self::Latency { quantile, below_nanos } => {
                return Rule::Guard(GuardBound::Latency {
                    quantile,
                    below: Duration::from_nanos(below_nanos),
                });
            }
            Self::FirstToken { quantile, below_nanos } => {
                return Rule::Guard(GuardBound::FirstToken {
                    quantile,
                    below: Duration::from_nanos(below_nanos),
                });
            }
            Self::TokenGap { quantile, below_nanos } => {
                return Rule::Guard(GuardBound::TokenGap {
                    quantile,
                    below: Duration::from_nanos(below_nanos),
                });
            }
            Self::ErrorRateAgainstBlue(form) => RegressionBound::ErrorRate { tolerance: tolerance(form) },
            Self::ClientErrorRateAgainstBlue(form) => {
                RegressionBound::ClientErrorRate { tolerance: tolerance(form) }
            }
            Self::LatencyAgainstBlue { quantile, ratio } => RegressionBound::Latency { quantile, ratio },
            Self::FirstTokenAgainstBlue { quantile, ratio } => {
                RegressionBound::FirstToken { quantile, ratio }
            }
            Self::TokenGapAgainstBlue { quantile, ratio } => RegressionBound::TokenGap { quantile, ratio },
        };
        Rule::Regression { bound, compared }
    }
}

impl ComparedForm {
    fn of(compared: &Compared) -> Self {
        let Compared { blue_requests, blue_failures, quantile, times } = *compared;
        let (green, blue) = times.unzip();
        Self {
            blue_requests,
            blue_failures,
            quantile,
            green_nanos: green.map(nanos),
            blue_nanos: blue.map(nanos),
        }
    }

    fn view(self) -> Compared {
        let Self { blue_requests, blue_failures, quantile, green_nanos, blue_nanos } = self;
        let times = green_nanos.zip(blue_nanos);
        Compared {
            blue_requests,
            blue_failures,
            quantile,
            times: times.map(|(green, blue)| (Duration::from_nanos(green), Duration::from_nanos(blue))),
        }
    }
}

impl AlarmForm {
    pub(super) fn of(evidence: &AlarmEvidence) -> Self {
        let AlarmEvidence {
            name,
            rule,
            state,
            requests,
            failures,
            recent_requests,
            recent_failures,
            ln_e,
            threshold,
            missing,
        } = evidence;
        let (bound, compared) = match rule {
            Rule::Guard(bound) => (BoundForm::of_guard(bound), None),
            Rule::Regression { bound, compared } => {
                (BoundForm::of_regression(bound), Some(ComparedForm::of(compared)))
            }
        };
        Self {
            name: name.clone(),
            bound,
            compared,
            state: match state {
                AlarmState::Ok => StateForm::Ok,
                AlarmState::Alarm => StateForm::Alarm,
                AlarmState::InsufficientData => StateForm::InsufficientData,
            },
            requests: *requests,
            failures: *failures,
            recent_requests: *recent_requests,
            recent_failures: *recent_failures,
            ln_e: ln_e.is_finite().then_some(*ln_e),
            threshold: *threshold,
            missing: *missing,
        }
    }

    pub(super) fn view(self) -> AlarmView {
        let Self {
            name,
            bound,
            compared,
            state,
            requests,
            failures,
            recent_requests,
            recent_failures,
            ln_e,
            threshold,
            missing,
        } = self;
        let evidence = AlarmEvidence {
            name,
            rule: bound.rule(compared.unwrap_or_default().view()),
            state: match state {
                StateForm::Ok => AlarmState::Ok,
                StateForm::Alarm => AlarmState::Alarm,
                StateForm::InsufficientData => AlarmState::InsufficientData,
            },
            requests,
            failures,
            recent_requests,
            recent_failures,
            ln_e: ln_e.unwrap_or(f64::INFINITY),
            threshold,
            missing,
        };
        AlarmView { nearness: evidence.nearness(), evidence }
    }
}
