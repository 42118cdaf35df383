//! What alarms say: set by hand, told to deployments, and asked about when one is to begin.

use super::{
    Api, Request,
    alarms::{Change, Said},
    now,
    record::State,
};
use crate::{
    admin::{
        aws::{
            fault::{Fault, Kind},
            front::Answer,
        },
        sagemaker::alarm_key,
    },
    alarm::AlarmState,
    control::{Actor, ControlError, Execution, Report},
};

/// Who tells control.
const ACTOR: &str = "cloudwatch";

/// Longer than any sentence of an alarm; it stands in a shift's journal.
const REASON_LIMIT: usize = 1_000;

impl Api {
    /// Until the alarm is looked at the next time.
    pub(super) async fn set_state(&self, request: &Request) -> Result<Answer, Fault> {
        let name = request.text("AlarmName");
        let data = request.text("StateReasonData").to_owned();
        if !data.is_empty() && serde_json::from_str::<serde_json::Value>(&data).is_err() {
            let message = "The value for parameter StateReasonData is not JSON.";
            return Err(Fault::new(Kind::InvalidParameter, message));
        }
        if self.state().alarms.get(name).is_none() {
            return Err(Fault::new(Kind::NotFound, format!("Could not find alarm \"{name}\".")));
        }
        let state = State::parse(request.text("StateValue"));
        let said = Said { state, reason: request.text("StateReason").to_owned(), data };
        let changes = self.state().alarms.set(name, said, now());
        // Acting comes before remembering, as with every alarm.
        self.tell(changes).await;
        self.save().await?;
        Ok(Answer::default())
    }

    /// Tells deployments what has changed.
    pub(super) async fn tell(&self, changes: Vec<Change>) {
        for Change { name, before, after, reason } in changes {
            tracing::info!(
                alarm = name,
                before = before.as_str(),
                after = after.as_str(),
                reason,
                "an alarm's state changed"
            );
            self.report(&name, after.into(), &reason).await;
        }
    }

    /// Tells deployments of raised alarms that none has heard of yet: one may have begun since.
    pub(super) async fn tell_unheard(&self) {
        let unheard = self.state().alarms.unheard();
        for (name, reason) in unheard {
            self.report(&name, AlarmState::Alarm, &reason).await;
        }
    }

    /// An alarm that is gone guards nothing any more, so a deployment that relies on it goes back.
    pub(super) async fn tell_gone(&self, name: &str) {
        let reason = "the alarm was deleted while a deployment relied on it";
        let asked = report_of(name, AlarmState::Alarm, reason);
        let hears = self.handle.report_alarm(asked, Execution::Dry).await;
        let is_heard = hears.is_ok_and(|shifts| !shifts.is_empty());
        let state = if is_heard { AlarmState::Alarm } else { AlarmState::InsufficientData };
        self.report(name, state, reason).await;
    }

    async fn report(&self, name: &str, state: AlarmState, reason: &str) {
        match self.handle.report_alarm(report_of(name, state, reason), Execution::Real).await {
            Ok(shifts) if !shifts.is_empty() => self.state().alarms.heard(name),
            Ok(_) | Err(ControlError::NoAlarm { .. }) => {}
            Err(error) => tracing::warn!(alarm = name, %error, "control did not hear what an alarm says"),
        }
    }

    /// Refuses a deployment that would go back at once, and lets those of these alarms that are here be told to it.
    pub(in crate::admin) async fn refuse_raised<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), Fault> {
        self.load().await?;
        let mut state = self.state();
        for name in names.clone() {
            let Some(alarm) = state.alarms.get(name).filter(|alarm| alarm.record.state == State::Alarm)
            else {
                continue;
            };
            return Err(Fault::validation(format!(
                "Alarm \"{name}\" is in ALARM state already ({}), so the deployment would be rolled back at once: wait until it is OK, or \
                 leave it out.",
                alarm.record.reason
            )));
        }
        state.alarms.tell_again(names);
        Ok(())
    }

    /// What these alarms say now, as far as they are here, for a deployment that has just begun.
    pub(in crate::admin) async fn tell_new_deployment(&self, names: impl Iterator<Item = &str>) {
        let known: Vec<_> = {
            let state = self.state();
            let known = names.filter_map(|name| {
                let record = &state.alarms.get(name)?.record;
                Some((name.to_owned(), record.state, record.reason.clone()))
            });
            known.collect()
        };
        for (name, state, reason) in known {
            self.report(&name, state.into(), &reason).await;
        }
    }
}

fn report_of(name: &str, state: AlarmState, reason: &str) -> Report {
    let reason = reason.chars().take(REASON_LIMIT).collect();
    Report { name: alarm_key(name), state, actor: Actor::from(ACTOR), reason }
}
