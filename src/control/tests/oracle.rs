//! Whoever answers questions about alarms in tests.

use std::{collections::BTreeMap, sync::Mutex};

use futures_util::future::BoxFuture;

use crate::{
    alarm::{AlarmState, Answer, Subject},
    control::asking::{Inquire, Inquiry},
};

/// Answers to questions about alarms, by alarm; a question about another one hangs.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    answers: Mutex<BTreeMap<String, Result<Answer, String>>>,
    asked: Mutex<Vec<(String, Subject)>>,
}

impl Oracle {
    pub(super) fn say(&self, alarm: &str, state: AlarmState) {
        let answer = Answer { state, reason: "scripted".to_owned(), value: None };
        self.answers.lock().unwrap().insert(alarm.to_owned(), Ok(answer));
    }

    pub(super) fn fail(&self, alarm: &str, reason: &str) {
        self.answers.lock().unwrap().insert(alarm.to_owned(), Err(reason.to_owned()));
    }

    /// Questions about this alarm hang from now on.
    pub(super) fn forget(&self, alarm: &str) {
        self.answers.lock().unwrap().remove(alarm);
    }

    pub(super) fn asked(&self) -> Vec<(String, Subject)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Inquire for Oracle {
    fn ask<'a>(&'a self, inquiry: &'a mut Inquiry) -> BoxFuture<'a, Result<Answer, String>> {
        self.asked.lock().unwrap().push((inquiry.alarm.clone(), inquiry.subject.clone()));
        let answer = self.answers.lock().unwrap().get(&inquiry.alarm).cloned();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}
