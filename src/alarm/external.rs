//! External alarms: what somebody else watches and reports, such as a quality check of answers or a dashboard's rule.
//!
//! A report holds for the alarm's lease and must be renewed within it, since whoever reports can fail too; after it the alarm says what
//! the plan expects of silence. The first lease begins with green's first share: until it is over a reporter that has not spoken yet has
//! given too little data.

use std::time::Duration;

use super::AlarmState;
use crate::time::Moment;

/// An external alarm of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct External {
    /// Unique among the shift's alarms; reports come under this name.
    pub name: String,
    /// How long a report holds.
    pub lease: Duration,
    /// What it says once no report holds.
    pub on_expiry: AlarmState,
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
}

/// An external alarm with where its state comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalEvidence {
    /// The plan's entry.
    pub external: External,
    /// What it says.
    pub state: AlarmState,
    /// Who says so.
    pub source: Source,
}

/// All external alarms of one shift.
#[derive(Clone, Debug)]
pub struct ExternalBook {
    alarms: Vec<Lease>,
}

#[derive(Clone, Debug)]
struct Lease {
    external: External,
    /// When the lease under way is over; `None` before green's first share where nobody has reported.
    ends: Option<Moment>,
    report: Option<(AlarmState, String)>,
}

impl ExternalBook {
    /// The alarms of a plan.
    pub fn new(externals: &[External]) -> Self {
        let lease = |external: &External| Lease { external: external.clone(), ends: None, report: None };
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
        alarm.report = Some((state, reason.to_owned()));
        alarm.ends = Some(now.after(alarm.external.lease));
        Some(before)
    }

    /// What every alarm says now, in the plan's order.
    pub fn evidence(&self, now: Moment) -> impl Iterator<Item = ExternalEvidence> {
        self.alarms.iter().map(move |alarm| alarm.evidence(now))
    }
}

impl Lease {
    fn evidence(&self, now: Moment) -> ExternalEvidence {
        let (state, source) = match (&self.report, self.ends) {
            (_, Some(ends)) if now >= ends => (self.external.on_expiry, Source::Expired),
            (Some((state, reason)), _) => (*state, Source::Report(reason.clone())),
            (None, _) => (AlarmState::InsufficientData, Source::Awaited),
        };
        ExternalEvidence { external: self.external.clone(), state, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AlarmState::{Alarm, InsufficientData, Ok};

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn book(on_expiry: AlarmState) -> ExternalBook {
        let external = External { name: "quality".to_owned(), lease: Duration::from_secs(60), on_expiry };
        ExternalBook::new(&[external])
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
    fn a_report_before_greens_first_share_is_no_older_for_it() {
        let mut book = book(Alarm);
        book.report("quality", Ok, "", at(5));
        book.begin_step(at(10));
        assert_eq!((says(&book, 64).0, says(&book, 65).0), (Ok, Alarm));
    }
}
