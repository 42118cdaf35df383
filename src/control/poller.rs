//! Polled alarms at work: a task for each, from when green's instances are there until the shift has no way back.
//!
//! What an answer says counts at once and is journalled afterwards where it changes the alarm's state, as for every alarm that acts by
//! itself. An answer that only renews is not journalled: after a restart the question is asked again before anything is made of it.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    asking::{Inquire, Inquiry},
    jitter::jittered,
    ledger::Draft,
    run::Aborting,
    task::{Note, Task},
    watched::Watched,
};
use crate::{
    alarm::{AlarmState, External, ExternalEvidence, Poll, Subject},
    name::{EndpointName, ShiftId},
    tls::Keychain,
    trial::external_text,
};

/// Who says what polls lead to, in events.
const ACTOR: &str = "poll";

/// Whoever does not answer is asked more and more rarely, eight times as rarely in the end, but at least so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
const MOST_DOUBLINGS: u32 = 3;

/// Starts polls.
#[derive(Clone, Debug)]
pub(super) struct Poller {
    pub(super) inquirer: Arc<dyn Inquire>,
    pub(super) keychain: Arc<Keychain>,
    pub(super) notes: mpsc::Sender<Note>,
}

/// A polled alarm has changed its state.
#[derive(Clone, Debug)]
pub(super) struct Polled {
    pub(super) endpoint: EndpointName,
    pub(super) shift: ShiftId,
    pub(super) before: AlarmState,
    pub(super) now: ExternalEvidence,
}

impl Poller {
    /// Asks for the state of every polled alarm of a shift from now on, the first time at once. The polls end when what this returns is dropped.
    pub(super) fn watch(
        &self,
        watched: &Arc<Watched>,
        externals: &[External],
        subject: &Subject,
    ) -> Vec<Aborting> {
        let start = |(external, poll): (&External, &Poll)| {
            let inquiry = Inquiry::new(&external.name, poll, subject.clone(), &self.keychain);
            Aborting(tokio::spawn(self.clone().run(Arc::clone(watched), inquiry)))
        };
        let polled = externals.iter().filter_map(|external| Some((external, external.poll.as_ref()?)));
        polled.map(start).collect()
    }

    async fn run(self, watched: Arc<Watched>, mut inquiry: Inquiry) {
        loop {
            let outcome = inquiry.ask(&*self.inquirer).await;
            if let Err(reason) = &outcome {
                tracing::debug!(shift = %watched.shift, alarm = inquiry.alarm, reason, "a question about an alarm failed");
            }
            let Some((before, now)) = watched.polled(&inquiry.alarm, outcome) else { return };
            let failed_in_a_row = now.polls.failed_in_a_row;
            if before != now.state {
                let (endpoint, shift) = (watched.endpoint.clone(), watched.shift.clone());
                let polled = Box::new(Polled { endpoint, shift, before, now });
                if self.notes.send(Note::Polled(polled)).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(jittered(pause(&inquiry.poll, failed_in_a_row))).await;
        }
    }
}

/// Until as many failures in a row as the plan bears, questions are asked at their usual pace, so that the plan's number of them means a
/// time; after that there is nothing left to find out in a hurry.
fn pause(poll: &Poll, failed_in_a_row: u32) -> Duration {
    let doublings = failed_in_a_row.saturating_sub(poll.errors.saturating_sub(1)).min(MOST_DOUBLINGS);
    (poll.every * 2_u32.pow(doublings)).min(LONGEST_PAUSE.max(poll.every))
}

impl Task {
    /// Journals that a polled alarm changed its state. A raised one has acted already.
    pub(super) async fn polled(&mut self, polled: Polled) {
        let Polled { endpoint, shift, before, now } = polled;
        let at = self.links.timer.wall_of(self.links.timer.now());
        let cause = format!("external alarm {}: {}", now.external.name, external_text(&now));
        let draft = Draft {
            endpoint: Some(endpoint.clone()),
            shift: Some(shift),
            before: Some(before.as_str().to_owned()),
            after: Some(now.state.as_str().to_owned()),
            evidence: Some(serde_json::json!({ "alarm": now.external.name })),
            ..Draft::new(at, "alarm.state", ACTOR, cause)
        };
        if let Err(error) = self.commit(Vec::new(), &[draft]).await {
            tracing::error!(alarm = now.external.name, %error, "an alarm's change of state is not in the journal");
        }
        self.wake(&endpoint).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::{Method, PollUrl, Question};

    #[test]
    fn a_question_is_asked_more_rarely_only_once_it_has_failed_as_often_as_the_plan_bears() {
        let poll = |every| Poll {
            question: Question::Webhook(Method::Get),
            url: PollUrl::parse("http://grader/").unwrap(),
            every: Duration::from_secs(every),
            timeout: Duration::from_secs(1),
            answers: 1,
            datapoints: 1,
            errors: 3,
            on_error: AlarmState::Alarm,
            token: None,
            ca: None,
        };
        let seconds = |every, failed| pause(&poll(every), failed).as_secs();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|failed| seconds(10, failed)),
            [10, 10, 10, 20, 40, 80, 80, 80]
        );
        assert_eq!(seconds(100, 9), 300);
        assert_eq!(seconds(3_600, 9), 3_600, "never more often than when it answers");
    }
}
