//! Alarms on the wire, and reports on them.

use serde::{Deserialize, Serialize};

/// An alarm and its numbers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// `guard` or `regression`.
    pub kind: String,
    /// `error_rate`, `client_error_rate` or `latency`.
    pub metric: String,
    /// For latency, such as `p99`; a regression without one is told at blue's quantile that speaks most against green.
    pub quantile: Option<String>,
    /// The bound as in the plan: `1%`, `250ms`; for a regression the tolerance: `1.5x`, `0.5%`.
    pub bound: String,
    /// `ok`, `alarm` or `insufficient_data`.
    pub state: String,
    /// Green requests in the test.
    pub requests: u64,
    /// Of those, failed or too slow.
    pub failures: u64,
    /// failures / requests.
    pub rate: Option<f64>,
    /// Green requests since the moment from which they speak most against green: what tipped the alarm. Zero while nothing does.
    pub recent_requests: u64,
    /// Of those, failed or too slow.
    pub recent_failures: u64,
    /// recent_failures / recent_requests.
    pub recent_rate: Option<f64>,
    /// For a regression, blue's requests over the same moments.
    pub blue_requests: Option<u64>,
    /// Of those, failed, or as slow as a green request that counts as too slow may be.
    pub blue_failures: Option<u64>,
    /// blue_failures / blue_requests.
    pub blue_rate: Option<f64>,
    /// The failure rate that the bound permits; for a regression, by blue's rate so far.
    pub permitted_rate: f64,
    /// Evidence against green in nats.
    pub ln_e: f64,
    /// The evidence at which it is raised.
    pub threshold: f64,
    /// 0 to 1.
    pub nearness: f64,
    /// The evidence in words: `odds of 1,000 : 1 against chance`.
    pub odds: String,
}

/// An external alarm.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct External {
    /// Its name.
    pub name: String,
    /// `ok`, `alarm` or `insufficient_data`.
    pub state: String,
    /// `awaited`, `report`, `expired`, `failing` or `ignored`.
    pub source: String,
    /// The report's reason.
    pub reason: Option<String>,
    /// How long a report holds.
    pub lease: String,
    /// What it says once no report holds.
    pub on_expiry: String,
    /// When the report stops holding, or the wait for one ends.
    pub lease_ends_at: Option<String>,
    /// The last value of a query.
    pub value: Option<f64>,
    /// On which side of its bound a query's value breaches.
    pub comparison: Option<String>,
    /// The bound of a query.
    pub bound: Option<f64>,
    /// How near it is, 0 to 1.
    #[serde(default)]
    pub nearness: f64,
    /// What its polls came to; null for one that waits to be told.
    pub polls: Option<Polls>,
    /// What it says and why, in a sentence.
    pub text: String,
}

/// What a polled alarm's questions came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Polls {
    /// From one answer to the next question.
    pub every: String,
    /// How many of how many answers must say alarm.
    pub datapoints: String,
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that failed.
    pub failed: u64,
    /// Of those, the last ones in a row.
    pub failed_in_a_row: u32,
    /// Why the last one failed.
    pub last_failure: Option<String>,
    /// How many of the answers that are looked at say alarm.
    pub alarming: u64,
}

/// The body of `POST /v1/alarms/{name}/state`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmReport {
    /// What the alarm says from now on.
    pub state: ReportedState,
    /// Why, in the reporter's words.
    #[serde(default)]
    pub reason: String,
    /// Who; `operator` when absent.
    #[serde(default)]
    pub actor: Option<String>,
}

/// What an external alarm can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedState {
    /// All is well.
    Ok,
    /// Green must go.
    Alarm,
    /// It cannot tell.
    InsufficientData,
}

impl ReportedState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Alarm, Self::InsufficientData];

    /// `ok`, `alarm` or `insufficient_data`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Alarm => "alarm",
            Self::InsufficientData => "insufficient_data",
        }
    }
}

/// What a report led to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlarmReported {
    /// The alarm.
    pub name: String,
    /// What it says.
    pub state: ReportedState,
    /// The running shifts that heard it.
    pub shifts: Vec<String>,
}

/// A threshold alarm and its datapoints.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Threshold {
    /// Its name.
    pub name: String,
    /// The one of green's variants that it looks at; none for all of them together.
    #[serde(default)]
    pub variant: Option<String>,
    /// `latency`, `first_byte`, `error_rate`, `client_error_rate`, `requests` or `failures`.
    pub metric: String,
    /// What is made of a period's samples, such as `p90`.
    pub statistic: String,
    /// `above`, `at_least`, `below` or `at_most`: on which side of the bound a period breaches.
    pub comparison: String,
    /// The bound as in the plan: `300ms`, `1%`, `10`.
    pub bound: String,
    /// How long a period is.
    pub period: String,
    /// How many of how many evaluated datapoints must breach: `2 of 3`.
    pub datapoints: String,
    /// What stands in for missing datapoints.
    pub missing: String,
    /// What a percentile of few samples does.
    pub low_samples: String,
    /// `ok`, `alarm` or `insufficient_data`.
    pub state: String,
    /// The newest period's value in words: `412ms`.
    pub value: Option<String>,
    /// How many of the evaluated datapoints breach.
    pub breaching: u64,
    /// How many more periods of this step must pass before it could have been raised.
    pub lacking: u64,
    /// How near it is, 0 to 1.
    #[serde(default)]
    pub nearness: f64,
    /// What the values are: `seconds`, `fraction` or `count`.
    pub unit: String,
    /// The periods that it looks at, the newest last; one without a sample is null.
    pub range: Vec<Option<Datapoint>>,
    /// What it saw, in a sentence.
    pub text: String,
}

/// A period that is over.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Datapoint {
    /// The statistic's value.
    pub value: f64,
    /// Of how many samples.
    pub samples: u64,
}

/// The failures that a plan permits green.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct FailureBudget {
    /// Failures of green that reached clients.
    pub failures: u64,
    /// The number that ends the shift.
    pub max_failures: u64,
    /// How much of it is spent, 0 to 1.
    pub nearness: f64,
}
