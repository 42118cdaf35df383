//! External alarms as a shift's report in the journal keeps them, with the leases that a next process goes on with.

use serde::{Deserialize, Serialize};

use super::ExternalView;
use crate::{
    alarm::{AlarmPlan, AlarmState, ExternalEvidence, Polls, Source},
    time::WallTime,
};

/// An external alarm. Its rule is in the shift's plan, under the name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ExternalForm {
    name: String,
    state: String,
    source: SourceForm,
    /// By the wall clock; absent where no lease has begun, and in reports of versions that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_ends_millis: Option<i64>,
    #[serde(default)]
    polls: PollsForm,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SourceForm {
    Awaited,
    Report(String),
    Expired,
    Failing,
    Ignored,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct PollsForm {
    answered: u64,
    failed: u64,
    failed_in_a_row: u32,
    last_failure: String,
    alarming: usize,
    /// JSON has no infinity; such a value is left out.
    value: Option<f64>,
}

/// A report that a next process goes on with.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Lasting {
    pub(super) name: String,
    pub(super) state: AlarmState,
    pub(super) reason: String,
    pub(super) until: WallTime,
}

impl ExternalForm {
    pub(super) fn of(view: &ExternalView) -> Self {
        let ExternalView { evidence, lease_ends_at } = view;
        let ExternalEvidence { external, state, source, polls } = evidence;
        Self {
            name: external.name.clone(),
            state: state.as_str().to_owned(),
            source: match source {
                Source::Awaited => SourceForm::Awaited,
                Source::Report(reason) => SourceForm::Report(reason.clone()),
                Source::Expired => SourceForm::Expired,
                Source::Failing => SourceForm::Failing,
                Source::Ignored => SourceForm::Ignored,
            },
            lease_ends_millis: lease_ends_at.map(WallTime::as_millis),
            polls: PollsForm::of(polls),
        }
    }

    /// `None` for one that the plan does not have.
    pub(super) fn view(self, plan: &AlarmPlan) -> Option<ExternalView> {
        let Self { name, state, source, lease_ends_millis, polls } = self;
        let external = plan.externals.iter().find(|external| external.name == name)?.clone();
        let state = AlarmState::parse(&state)?;
        let source = match source {
            SourceForm::Awaited => Source::Awaited,
            SourceForm::Report(reason) => Source::Report(reason),
            SourceForm::Expired => Source::Expired,
            SourceForm::Failing => Source::Failing,
            SourceForm::Ignored => Source::Ignored,
        };
        let evidence = ExternalEvidence { external, state, source, polls: polls.polls() };
        Some(ExternalView { evidence, lease_ends_at: lease_ends_millis.map(WallTime::from_millis) })
    }

    /// The report in it, if it holds one. Whether it still does is for the clock to say.
    pub(super) fn lasting(&self) -> Option<Lasting> {
        let until = WallTime::from_millis(self.lease_ends_millis?);
        let state = AlarmState::parse(&self.state)?;
        match &self.source {
            SourceForm::Report(reason) => {
                Some(Lasting { name: self.name.clone(), state, reason: reason.clone(), until })
            }
            SourceForm::Awaited | SourceForm::Expired | SourceForm::Failing | SourceForm::Ignored => None,
        }
    }
}

impl PollsForm {
    fn of(polls: &Polls) -> Self {
        let Polls { answered, failed, failed_in_a_row, last_failure, alarming, value } = polls.clone();
        let value = value.filter(|value| value.is_finite());
        Self { answered, failed, failed_in_a_row, last_failure, alarming, value }
    }

    fn polls(self) -> Polls {
        let Self { answered, failed, failed_in_a_row, last_failure, alarming, value } = self;
        Polls { answered, failed, failed_in_a_row, last_failure, alarming, value }
    }
}
