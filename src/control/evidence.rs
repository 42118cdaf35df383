//! The figures that stand behind a shift's change of state, for programs that read its events.

use serde_json::{Map, Value, json};

use super::run::Run;
use crate::{
    meter::Reading,
    shift::{Cause, State},
};

impl Run {
    /// What a change to this state rests on: what made it go back, and what each fleet's requests came to in this process since the shift
    /// began, as far as it ran in it. Texts and whole numbers alone, which every JSON library gives back as they were.
    pub(super) fn evidence(&self, after: &State) -> Value {
        let mut evidence = Map::new();
        if let State::RollingBack { cause, .. } | State::RolledBack { cause } = after {
            evidence.insert("rollback".to_owned(), cause.as_str().into());
            match cause {
                Cause::Alarm { name, evidence: says } => {
                    evidence.insert("alarm".to_owned(), name.as_str().into());
                    evidence.insert("says".to_owned(), says.as_str().into());
                }
                Cause::FailureBudget { failures } => {
                    evidence.insert("failures".to_owned(), (*failures).into());
                }
                Cause::GreenNotReady { reason } => {
                    evidence.insert("says".to_owned(), reason.as_str().into());
                }
                Cause::Aborted
                | Cause::ExecutionTimeout
                | Cause::GreenGone
                | Cause::NoData
                | Cause::Restart
                | Cause::EvaluatorStalled => {}
            }
        }
        evidence.insert("blue".to_owned(), counts(&self.blue.meters.read(), &self.blue_baseline));
        evidence.insert("green".to_owned(), counts(&self.green_reading(), &Reading::default()));
        Value::Object(evidence)
    }
}

fn counts(now: &Reading, then: &Reading) -> Value {
    let since = |which: fn(&Reading) -> u64| which(now).saturating_sub(which(then));
    json!({
        "dealt": since(|reading| reading.dealt),
        "settled": since(Reading::settled),
        "failed": since(Reading::failed),
    })
}
