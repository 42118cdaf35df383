//! What a plan can and cannot find out about green, said before it is run.
//!
//! Pure: a plan and the [`Situation`] that it would run in go in, a [`Lint`] comes out. `traffic` holds what is known or assumed of blue's
//! traffic, `subject` what each alarm judges, `forecast` what each step finds with it, `findings` what an operator should know or change, and
//! `periods` which thresholds blue would raise.
//!
//! Nothing here stops a shift: what cannot be carried out at all is refused by `config` and `control`. An error says that the plan does
//! not do what it says, a warning that it does less than it seems to, a note what was assumed.

#[cfg(test)]
mod documented;
mod findings;
mod forecast;
mod periods;
mod subject;
#[cfg(test)]
mod tests;
mod traffic;
mod words;

pub use forecast::{Detection, Forecast, Sight, StepForecast};
pub use traffic::{Origin, RateError, Room, Situation, Traffic, parse_rate};

use std::collections::BTreeMap;

use crate::config::PlanSpec;

/// What is to be known of a plan before it is run.
#[derive(Clone, PartialEq, Debug)]
pub struct Lint {
    /// What each step can find.
    pub forecast: Forecast,
    /// What an operator should know or change, the worst first.
    pub findings: Vec<Finding>,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The plan does not do what it says.
    Error,
    /// It does less than it seems to.
    Warning,
    /// Something to know.
    Note,
}

/// One thing that an operator should know or change.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of finding, for programs: `short_bake`, `blind_step` and so on.
    pub code: String,
    /// Where in the plan: `step 1`, `guard error_rate`, `max_failures`; `blue` for the fleet in service, `plan` for the whole.
    pub place: String,
    /// What is so, and what would be right, in a sentence.
    pub message: String,
    /// The figures in it, by name: counts, rates from 0 to 1, times in seconds where the name ends in `_seconds`.
    pub numbers: BTreeMap<String, f64>,
}

/// Looks at a plan. Takes some milliseconds for each step and alarm, so it is called where one may compute.
pub fn lint(plan: &PlanSpec, situation: &Situation) -> Lint {
    let subjects = subject::subjects(&plan.alarms, situation);
    let forecast = forecast::forecast(plan, &subjects, situation);
    let findings = findings::findings(plan, &subjects, &forecast, situation);
    Lint { forecast, findings }
}

impl Lint {
    /// With findings from elsewhere, the worst first again.
    pub fn with(mut self, findings: Vec<Finding>) -> Self {
        self.findings.extend(findings);
        self.findings.sort_by_key(|finding| finding.severity);
        self
    }

    /// Whether there is an error among the findings.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl Severity {
    /// All, the worst first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// `error`, `warning` or `note`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}
