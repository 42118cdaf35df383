//! External alarms: what somebody else watches, such as a quality check of answers or a dashboard's rule, and reports or is asked about.
//!
//! A report holds for the alarm's lease and must be renewed within it, since whoever reports can fail too; after it the alarm says what
//! the plan expects of silence. The first lease begins with green's first share: until it is over a reporter that has not spoken yet has
//! given too little data. An answer to a poll (`poll`) is a report like any other.

use std::{collections::VecDeque, time::Duration};

use super::{AlarmState, Answer, Poll, Query, Question};
use crate::time::Moment;

/// An external alarm of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct External {
    /// Unique among the shift's alarms; reports come under this name.
    pub name: String,
    /// How long a report holds.
    pub lease: Duration,
    /// What it says once no report holds.
    pub on_expiry: AlarmState,
    /// How its state is asked for; `None` for one that waits to be told.
    pub poll: Option<Poll>,
    /// Whether it is known to be raised and the shift is to begin all the same: it is not judged until it has been ok once.
    pub ignore_raised: bool,
}

/// Where an external alarm's state comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody has reported yet, and the first lease is not over.
    Awaited,
    /// A report, with its reason; may be empty.
    Report(String),
    /// The lease is over.
    Expired,
    /// As many questions in a row failed as the plan bears.
    Failing,
    /// Nobody: it is ignored until it has been ok once ([`External::ignore_raised`]).
    Ignored,
}

/// An external alarm with where its state comes from.
#[derive(Clone, PartialEq, Debug)]
pub struct ExternalEvidence {
    /// The plan's entry.
    pub external: External,
    /// What it says.
    pub state: AlarmState,
    /// Who says so.
    pub source: Source,
    /// What its polls came to; nothing for one that is not polled.
    pub polls: Polls,
}

/// What an alarm's polls came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Polls {
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that failed.
    pub failed: u64,
    /// Of those, the last ones in a row.
    pub failed_in_a_row: u32,
    /// Why the last one failed; empty as long as none did.
    pub last_failure: String,
    /// How many of the answers that are looked at say alarm.
    pub alarming: usize,
    /// The value of the last answer, of a query.
    pub value: Option<f64>,
}

/// All external alarms of one shift.
#[derive(Clone, Debug)]
pub struct ExternalBook {
    alarms: Vec<Lease>,
}

#[derive(Clone, Debug)]
struct Lease {
    external: External,
    /// Whether it is still to be ok for the first time.
    is_ignored: bool,
    /// When the lease under way is over; `None` before green's first share where nobody has reported.
    ends: Option<Moment>,
    report: Option<(AlarmState, String)>,
    polls: Polls,
    /// What the last answers said, the newest last; as many as the plan looks at.
    answers: VecDeque<AlarmState>,
}

impl ExternalBook {
    /// The alarms of a plan.
    pub fn new(externals: &[External]) -> Self {
        let lease = |external: &External| Lease {
            external: external.clone(),
            is_ignored: external.ignore_raised,
            ends: None,
            report: None,
            polls: Polls::default(),
            answers: VecDeque::new(),
        };
        Self { alarms: externals.iter().map(lease).collect() }
    }

    /// Green gets a share. With the first, leases begin that no report has begun.
    pub fn begin_step(&mut self, now: Moment) {
        for alarm in &mut self.alarms {
            alarm.ends.get_or_insert(now.after(alarm.external.lease));
        }
    }

    /// Takes a report and says what the alarm said before; `None` when there is no alarm of this name.
    pub fn report(&mut self, name: &str, state: AlarmState, reason: &str, now: Moment) -> Option<AlarmState> {
        let alarm = self.alarms.iter_mut().find(|alarm| alarm.external.name == name)?;
        let before = alarm.evidence(now).state;
        alarm.heed(state);
        alarm.take_in(state, reason, now);
        Some(before)
    }

    /// Takes what a poll came to, or why it failed, and says what the alarm said before; `None` when there is no polled alarm of this name.
    pub fn polled(&mut self, name: &str, outcome: Result<Answer, String>, now: Moment) -> Option<AlarmState> {
        let alarm = self.alarms.iter_mut().find(|alarm| alarm.external.name == name)?;
        let poll = alarm.external.poll.clone()?;
        let before = alarm.evidence(now).state;
        match outcome {
            Ok(answer) => alarm.answered(&poll, answer, now),
            Err(reason) => {
                alarm.polls.failed += 1;
                alarm.polls.failed_in_a_row = alarm.polls.failed_in_a_row.saturating_add(1);
                alarm.polls.last_failure = reason;
            }
        }
        Some(before)
    }

    /// Goes on with a report that an earlier process took, for what is left of its lease.
    pub fn resume(&mut self, name: &str, state: AlarmState, reason: &str, ends: Moment) {
        if let Some(alarm) = self.alarms.iter_mut().find(|alarm| alarm.external.name == name) {
            alarm.heed(state);
            alarm.report = Some((state, reason.to_owned()));
            alarm.ends = Some(ends);
        }
    }

    /// When the lease of each alarm ends, in the plan's order; `None` before green's first share where nobody has reported.
    pub fn leases(&self) -> impl Iterator<Item = Option<Moment>> {
        self.alarms.iter().map(|alarm| alarm.ends)
    }

    /// What every alarm says now, in the plan's order.
    pub fn evidence(&self, now: Moment) -> impl Iterator<Item = ExternalEvidence> {
        self.alarms.iter().map(move |alarm| alarm.evidence(now))
    }
}

impl Lease {
    /// Ok ends the ignoring: what is raised after it is news.
    fn heed(&mut self, said: AlarmState) {
        self.is_ignored = self.is_ignored && said != AlarmState::Ok;
    }

    fn take_in(&mut self, state: AlarmState, reason: &str, now: Moment) {
        self.report = Some((state, reason.to_owned()));
        self.ends = Some(now.after(self.external.lease));
        self.polls.failed_in_a_row = 0;
    }

    /// An answer of alarm that is not enough for one counts as ok, as a datapoint of a threshold does.
    fn answered(&mut self, poll: &Poll, answer: Answer, now: Moment) {
        let Answer { state, reason, value } = answer;
        let was_ignored = self.is_ignored;
        self.heed(state);
        if was_ignored && !self.is_ignored {
            // What was known when the shift began is no part of what is new.
            self.answers.clear();
        }
        self.answers.push_back(state);
        while self.answers.len() > poll.answers {
            self.answers.pop_front();
        }
        let alarming = self.answers.iter().filter(|said| **said == AlarmState::Alarm).count();
        self.polls.answered += 1;
        self.polls.alarming = alarming;
        self.polls.value = value;
        let so_far = match state {
            AlarmState::Ok | AlarmState::Alarm => AlarmState::Ok,
            AlarmState::InsufficientData => AlarmState::InsufficientData,
        };
        let said = if alarming >= poll.datapoints { AlarmState::Alarm } else { so_far };
        self.take_in(said, &reason, now);
    }

    /// What it says once too many questions in a row have failed.
    fn failing(&self) -> Option<AlarmState> {
        let poll = self.external.poll.as_ref()?;
        (self.polls.failed_in_a_row >= poll.errors).then_some(poll.on_error)
    }

    fn evidence(&self, now: Moment) -> ExternalEvidence {
        if self.is_ignored {
            return self.says(AlarmState::Ok, Source::Ignored);
        }
        if let Some(state) = self.failing() {
            return self.says(state, Source::Failing);
        }
        let (state, source) = match (&self.report, self.ends) {
            (_, Some(ends)) if now >= ends => (self.external.on_expiry, Source::Expired),
            (Some((state, reason)), _) => (*state, Source::Report(reason.clone())),
            (None, _) => (AlarmState::InsufficientData, Source::Awaited),
        };
        self.says(state, source)
    }

    fn says(&self, state: AlarmState, source: Source) -> ExternalEvidence {
        ExternalEvidence { external: self.external.clone(), state, source, polls: self.polls.clone() }
    }
}

impl ExternalEvidence {
    /// How near the alarm is, 0 to 1: of the last answers, how many of the needed ones say alarm, or how near a query's value is to its
    /// bound. A report alone says yes or no, and what is ignored is near nothing.
    pub fn nearness(&self) -> f64 {
        match self.state {
            AlarmState::Alarm => return 1.0,
            AlarmState::Ok | AlarmState::InsufficientData => {}
        }
        // What is not judged raises nothing, however many answers say alarm.
        let Some(poll) = self.external.poll.as_ref().filter(|_| self.source != Source::Ignored) else {
            return 0.0;
        };
        let answers = self.polls.alarming as f64 / poll.datapoints as f64;
        let value = match (&poll.question, self.polls.value) {
            // A value beyond the bound is one answer of those that are needed.
            (Question::Prometheus(query), Some(value)) => query.nearness(value) / poll.datapoints as f64,
            (Question::Prometheus(_), None) | (Question::Webhook(_), _) => 0.0,
        };
        answers.max(value).min(0.99)
    }

    /// The bound of a query, and the value that was compared with it last.
    pub fn measure(&self) -> Option<(&Query, Option<f64>)> {
        match &self.external.poll.as_ref()?.question {
            Question::Prometheus(query) => Some((query, self.polls.value)),
            Question::Webhook(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::{Method, PollUrl};
    use AlarmState::{Alarm, InsufficientData, Ok};

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn book(on_expiry: AlarmState) -> ExternalBook {
        book_of(on_expiry, None)
    }

    fn book_of(on_expiry: AlarmState, poll: Option<Poll>) -> ExternalBook {
        let external = External {
            name: "quality".to_owned(),
            lease: Duration::from_secs(60),
            on_expiry,
            poll,
            ignore_raised: false,
        };
        ExternalBook::new(&[external])
    }

    fn ignoring(poll: Option<Poll>) -> ExternalBook {
        let [external] = [book_of(Alarm, poll).evidence(at(0)).next().unwrap().external];
        ExternalBook::new(&[External { ignore_raised: true, ..external }])
    }

    #[test]
    fn an_alarm_that_is_ignored_is_not_judged_until_it_has_been_ok_once() {
        let mut book = ignoring(None);
        book.begin_step(at(10));
        for (seconds, state) in [(20, Alarm), (30, InsufficientData)] {
            book.report("quality", state, "still", at(seconds));
            assert_eq!(says(&book, seconds), (Ok, Source::Ignored));
        }
        assert_eq!(says(&book, 1_000), (Ok, Source::Ignored), "nor is its silence");
        book.report("quality", Ok, "mended", at(1_001));
        assert_eq!(says(&book, 1_001), (Ok, Source::Report("mended".to_owned())));
        book.report("quality", Alarm, "again", at(1_002));
        assert_eq!(says(&book, 1_002).0, Alarm);
        let mut resumed = ignoring(None);
        resumed.resume("quality", Ok, "", at(60));
        assert_eq!(says(&resumed, 60).0, Alarm, "ok before the process started counts");
    }

    #[test]
    fn a_polled_alarm_that_is_ignored_waits_for_an_answer_of_ok() {
        let mut book = ignoring(Some(poll()));
        book.polled("quality", answer(Alarm), at(1));
        book.polled("quality", Err("no connection".to_owned()), at(2));
        book.polled("quality", Err("no connection".to_owned()), at(3));
        assert_eq!(says(&book, 3), (Ok, Source::Ignored), "one alarm of two is not ok");
        book.polled("quality", answer(Alarm), at(3));
        assert_eq!(book.evidence(at(3)).next().unwrap().nearness(), 0.0, "it cannot be raised");
        book.polled("quality", answer(Ok), at(4));
        book.polled("quality", answer(Alarm), at(5));
        assert_eq!(says(&book, 5).0, Ok, "what was raised before it was ok is no news");
        book.polled("quality", answer(Alarm), at(6));
        assert_eq!(says(&book, 6).0, Alarm, "two of the last three");
    }

    /// Raised by two of the last three answers, and by two failures in a row.
    fn poll() -> Poll {
        Poll {
            question: Question::Webhook(Method::Get),
            url: PollUrl::parse("http://grader/").unwrap(),
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            answers: 3,
            datapoints: 2,
            errors: 2,
            on_error: Alarm,
            token: None,
            ca: None,
        }
    }

    fn answer(state: AlarmState) -> Result<Answer, String> {
        Result::Ok(Answer { state, reason: "graded".to_owned(), value: None })
    }

    fn says(book: &ExternalBook, seconds: u64) -> (AlarmState, Source) {
        let evidence = book.evidence(at(seconds)).next().unwrap();
        (evidence.state, evidence.source)
    }

    #[test]
    fn a_report_holds_for_a_lease_from_when_it_came() {
        let mut book = book(InsufficientData);
        book.begin_step(at(10));
        assert_eq!(book.report("quality", Ok, "all graded well", at(20)), Some(InsufficientData));
        assert_eq!(says(&book, 79), (Ok, Source::Report("all graded well".to_owned())));
        assert_eq!(book.report("quality", Alarm, "", at(79)), Some(Ok));
        assert_eq!(says(&book, 138).0, Alarm);
        assert_eq!(says(&book, 139), (InsufficientData, Source::Expired));
        assert_eq!(book.report("qualty", Ok, "", at(140)), None);
    }

    #[test]
    fn a_polled_alarm_is_raised_by_m_of_the_last_n_answers() {
        let mut book = book_of(InsufficientData, Some(poll()));
        let mut after = |state| {
            book.polled("quality", answer(state), at(1)).unwrap();
            (says(&book, 1).0, book.evidence(at(1)).next().unwrap().nearness())
        };
        assert_eq!(after(Alarm), (Ok, 0.5));
        assert_eq!(after(InsufficientData), (InsufficientData, 0.5));
        assert_eq!(after(Ok), (Ok, 0.5));
        assert_eq!(after(Alarm), (Ok, 0.5), "the first is too long ago");
        assert_eq!(after(Alarm), (Alarm, 1.0));
        assert_eq!(book.polled("other", answer(Ok), at(1)), None);
        assert_eq!(self::book(Ok).polled("quality", answer(Ok), at(1)), None, "it is not polled");
    }

    #[test]
    fn so_many_failures_in_a_row_lead_to_the_stated_state_and_an_answer_ends_them() {
        let mut book = book_of(InsufficientData, Some(poll()));
        let failure = || Err("no connection".to_owned());
        book.polled("quality", answer(Ok), at(1));
        assert_eq!(book.polled("quality", failure(), at(2)), Some(Ok));
        assert_eq!(says(&book, 2).0, Ok);
        book.polled("quality", failure(), at(3));
        assert_eq!(says(&book, 3), (Alarm, Source::Failing));
        let polls = book.evidence(at(3)).next().unwrap().polls;
        assert_eq!((polls.answered, polls.failed, polls.failed_in_a_row), (1, 2, 2));
        assert_eq!(polls.last_failure, "no connection");
        assert_eq!(book.polled("quality", answer(Ok), at(4)), Some(Alarm));
        assert_eq!(says(&book, 4).0, Ok);
        assert_eq!(says(&book, 64), (InsufficientData, Source::Expired), "an answer holds for a lease");
    }

    #[test]
    fn a_reporter_that_never_speaks_is_awaited_for_one_lease_of_greens_share() {
        for on_expiry in [Ok, Alarm, InsufficientData] {
            let mut book = book(on_expiry);
            assert_eq!(says(&book, 5_000), (InsufficientData, Source::Awaited));
            book.begin_step(at(10));
            book.begin_step(at(50));
            assert_eq!(says(&book, 69), (InsufficientData, Source::Awaited));
            assert_eq!(says(&book, 70), (on_expiry, Source::Expired));
        }
    }

    #[test]
    fn a_resumed_report_holds_for_what_is_left_of_its_lease() {
        let mut book = book(Alarm);
        book.resume("quality", Ok, "graded", at(30));
        book.begin_step(at(10));
        assert_eq!(says(&book, 29), (Ok, Source::Report("graded".to_owned())));
        assert_eq!(says(&book, 30).0, Alarm);
        assert_eq!(book.leases().collect::<Vec<_>>(), [Some(at(30))]);
    }

    #[test]
    fn a_report_before_greens_first_share_is_no_older_for_it() {
        let mut book = book(Alarm);
        book.report("quality", Ok, "", at(5));
        book.begin_step(at(10));
        assert_eq!((says(&book, 64).0, says(&book, 65).0), (Ok, Alarm));
    }
}
