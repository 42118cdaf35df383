//! When a plan may begin, and at which hours it may go on.
//!
//! Pure, as all of the engine: what time it is is an argument, and a time zone is a value that whoever read the plan has looked up. Hours are
//! kept as they are written, a time of the day in a zone, and turned into moments at every look; so they stay right when the zone changes
//! its clocks and when the machine's clock is set.
//!
//! A time that a zone skips when its clocks go forward counts as that much later, and one that it has twice counts as the first of the
//! two, as calendars do it.

use std::{fmt, time::Duration};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

use crate::time::WallTime;

/// How many days ahead hours are looked for: every window comes back within a week, and its day may have begun already.
const DAYS_AHEAD: i32 = 9;

/// Monday the 8th of June 2026, midnight in UTC: nobody changes their clocks in that week or the one after.
const ANY_MONDAY: i64 = 1_780_876_800_000;
const A_WEEK: i64 = 7 * 86_400_000;

/// When a plan may begin, and at which hours it may go on. By default at once and always.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    /// Before this it does not begin.
    pub start_at: Option<WallTime>,
    /// Outside of these it neither begins nor goes on; none: always.
    pub allowed_hours: Vec<Window>,
}

/// Hours of some days of the week.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    days: Vec<Weekday>,
    from: Time,
    to: Option<Time>,
    zone: TimeZone,
}

/// Whether it is within the allowed hours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hours {
    /// It is, until then; `None` where they do not end within a week.
    Open(Option<WallTime>),
    /// It is not, until then.
    Closed(WallTime),
}

/// What a shift that has not begun waits for by its own plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Its scheduled start.
    Start(WallTime),
    /// The first of its hours.
    Hours(WallTime),
}

impl Schedule {
    /// Whether the plan says anything of the kind.
    pub fn is_empty(&self) -> bool {
        self.start_at.is_none() && self.allowed_hours.is_empty()
    }

    /// What it waits for before it may begin; `None` when it may.
    pub fn wait(&self, now: WallTime) -> Option<Wait> {
        match (self.start_at.filter(|start| now < *start), self.hours(now)) {
            (Some(start), _) => Some(Wait::Start(start)),
            (None, Hours::Closed(until)) => Some(Wait::Hours(until)),
            (None, Hours::Open(_)) => None,
        }
    }

    /// Whether `now` is within the allowed hours, and when that changes.
    pub fn hours(&self, now: WallTime) -> Hours {
        if self.allowed_hours.is_empty() {
            return Hours::Open(None);
        }
        let mut spans: Vec<(i64, i64)> =
            self.allowed_hours.iter().flat_map(|window| window.spans(now)).collect();
        spans.sort_unstable();
        let now = now.as_millis();
        let mut open_until = None;
        for (begins, ends) in &spans {
            // Windows that touch or overlap are one.
            let reached = open_until.unwrap_or(now);
            if *begins <= reached && *ends > reached {
                open_until = Some(*ends);
            }
        }
        let ahead = now.saturating_add(A_WEEK);
        match (open_until, spans.iter().map(|(begins, _)| *begins).find(|begins| *begins > now)) {
            (Some(until), _) => Hours::Open((until <= ahead).then(|| WallTime::from_millis(until))),
            (None, Some(begins)) => Hours::Closed(WallTime::from_millis(begins)),
            // Only at the end of the calendar; the next look is as good as any.
            (None, None) => Hours::Closed(WallTime::from_millis(now.saturating_add(86_400_000))),
        }
    }

    /// The longest stretch between the allowed hours in any week, by their days and times alone; `None` where there are none.
    pub fn longest_closed(&self) -> Option<Duration> {
        // A week in which no zone changes its clocks; hours around such a change differ by an hour.
        let monday = WallTime::from_millis(ANY_MONDAY);
        let mut spans: Vec<(i64, i64)> =
            self.allowed_hours.iter().flat_map(|window| window.spans(monday)).collect();
        spans.retain(|(begins, _)| (0..A_WEEK).contains(&begins.saturating_sub(ANY_MONDAY)));
        spans.sort_unstable();
        let (first, mut open_until) = *spans.first()?;
        let again = (first.saturating_add(A_WEEK), 0);
        let mut longest = 0;
        for (begins, ends) in spans.into_iter().chain([again]) {
            longest = longest.max(begins.saturating_sub(open_until));
            open_until = open_until.max(ends);
        }
        Some(Duration::from_millis(u64::try_from(longest).unwrap_or_default()))
    }

    /// The allowed hours in words, such as `mon-fri 09:00 to 17:00 Europe/Berlin`.
    pub fn hours_text(&self) -> String {
        let windows: Vec<String> = self.allowed_hours.iter().map(Window::to_string).collect();
        windows.join(" and ")
    }
}

impl Wait {
    /// The earliest moment at which it can be over.
    pub const fn until(self) -> WallTime {
        match self {
            Self::Start(until) | Self::Hours(until) => until,
        }
    }
}

impl Window {
    /// From a time of these days to another, the same day where it is later, else the next; `None` is the end of the day. `None` where
    /// there are no days or no hours in it.
    pub fn new(days: &[Weekday], from: Time, to: Option<Time>, zone: TimeZone) -> Option<Self> {
        let mut days = days.to_vec();
        days.sort_unstable_by_key(|day| day.to_monday_zero_offset());
        days.dedup();
        (!days.is_empty() && to != Some(from)).then_some(Self { days, from, to, zone })
    }

    /// Its days, from Monday on.
    pub fn days(&self) -> &[Weekday] {
        &self.days
    }

    /// When it begins on each of them.
    pub const fn from(&self) -> Time {
        self.from
    }

    /// When it ends; `None` for the end of the day.
    pub const fn to(&self) -> Option<Time> {
        self.to
    }

    /// Where these times are read; zones have names.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// When it is open from the day before `now` to a week later, as milliseconds since the Unix epoch.
    fn spans(&self, now: WallTime) -> Vec<(i64, i64)> {
        let Ok(stamp) = Timestamp::from_millisecond(now.as_millis()) else { return Vec::new() };
        let today = self.zone.to_datetime(stamp).date();
        let dates = (-1..DAYS_AHEAD).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        dates
            .filter(|date| self.days.contains(&date.weekday()))
            .filter_map(|date| self.span_of(date))
            .collect()
    }

    fn span_of(&self, date: Date) -> Option<(i64, i64)> {
        let is_same_day = self.to.is_some_and(|to| to > self.from);
        let last = if is_same_day { date } else { date.checked_add(1.days()).ok()? };
        let moment = |date: Date, time: Time| {
            let stamp = self.zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible().ok()?;
            Some(stamp.as_millisecond())
        };
        Some((moment(date, self.from)?, moment(last, self.to.unwrap_or(Time::midnight()))?))
    }
}

/// Days in a row are written as a range.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |day: &Weekday| DAYS[usize::from(day.to_monday_zero_offset().unsigned_abs())].0;
        let runs =
            self.days.chunk_by(|one, next| next.to_monday_zero_offset() == one.to_monday_zero_offset() + 1);
        let texts: Vec<String> = runs
            .map(|run| match run {
                [first, .., last] if run.len() > 2 => format!("{}-{}", name(first), name(last)),
                days => days.iter().map(name).collect::<Vec<_>>().join(", "),
            })
            .collect();
        let to = self.to.map_or_else(|| "24:00".to_owned(), |to| to.strftime("%H:%M").to_string());
        write!(f, "{} {} to {to} {}", texts.join(", "), self.from.strftime("%H:%M"), self.zone())
    }
}

/// The words for the days of a week.
pub const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    const WORKDAYS: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    fn at(text: &str) -> WallTime {
        WallTime::from_millis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn window(days: &[Weekday], from: Time, to: Option<Time>, zone: &str) -> Window {
        Window::new(days, from, to, TimeZone::get(zone).unwrap()).unwrap()
    }

    fn schedule(windows: &[Window]) -> Schedule {
        Schedule { start_at: None, allowed_hours: windows.to_vec() }
    }

    fn berlin() -> Schedule {
        schedule(&[window(&WORKDAYS, time(9, 0, 0, 0), Some(time(17, 0, 0, 0)), "Europe/Berlin")])
    }

    fn check(schedule: &Schedule, rows: &[(&str, Hours)]) {
        for (now, hours) in rows {
            assert_eq!(schedule.hours(at(now)), *hours, "{now}");
        }
    }

    fn open(until: &str) -> Hours {
        Hours::Open(Some(at(until)))
    }

    fn closed(until: &str) -> Hours {
        Hours::Closed(at(until))
    }

    #[test]
    fn hours_begin_with_their_first_moment_and_end_before_their_last() {
        check(
            &berlin(),
            &[
                ("2026-01-30T07:59:59.999Z", closed("2026-01-30T08:00:00Z")),
                ("2026-01-30T08:00:00Z", open("2026-01-30T16:00:00Z")),
                ("2026-01-30T15:59:59.999Z", open("2026-01-30T16:00:00Z")),
                // Friday evening: until Monday.
                ("2026-01-30T16:00:00Z", closed("2026-02-02T08:00:00Z")),
            ],
        );
    }

    #[test]
    fn hours_follow_the_clocks_of_their_zone() {
        check(
            &berlin(),
            &[
                // The clocks go forward on Sunday the 29th of March, and back on the 25th of October.
                ("2026-03-27T16:00:00Z", closed("2026-03-30T07:00:00Z")),
                ("2026-10-23T15:00:00Z", closed("2026-10-26T08:00:00Z")),
            ],
        );
        let night = [window(&ALL, time(1, 30, 0, 0), Some(time(2, 30, 0, 0)), "Europe/Berlin")];
        check(
            &schedule(&night),
            &[
                // 02:30 does not exist that night: it counts as 03:30, which is half past one in UTC.
                ("2026-03-29T00:30:00Z", open("2026-03-29T01:30:00Z")),
                // 02:30 comes twice that night, and the first one counts.
                ("2026-10-24T23:30:00Z", open("2026-10-25T00:30:00Z")),
                ("2026-10-25T00:30:00Z", closed("2026-10-26T00:30:00Z")),
            ],
        );
        let skipped = [window(&ALL, time(2, 10, 0, 0), Some(time(2, 50, 0, 0)), "Europe/Berlin")];
        check(&schedule(&skipped), &[("2026-03-29T01:20:00Z", open("2026-03-29T01:50:00Z"))]);
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let night = window(&[Weekday::Friday], time(22, 0, 0, 0), Some(time(4, 0, 0, 0)), "UTC");
        check(
            &schedule(&[night]),
            &[
                ("2026-01-30T21:00:00Z", closed("2026-01-30T22:00:00Z")),
                ("2026-01-31T03:00:00Z", open("2026-01-31T04:00:00Z")),
                ("2026-01-30T03:00:00Z", closed("2026-01-30T22:00:00Z")),
                ("2026-01-31T04:00:00Z", closed("2026-02-06T22:00:00Z")),
            ],
        );
    }

    #[test]
    fn windows_that_touch_are_one_and_always_has_no_end() {
        let morning = window(&WORKDAYS, time(8, 0, 0, 0), Some(time(12, 0, 0, 0)), "UTC");
        let afternoon = window(&WORKDAYS, time(12, 0, 0, 0), None, "UTC");
        check(
            &schedule(&[afternoon, morning]),
            &[
                ("2026-01-29T09:00:00Z", open("2026-01-30T00:00:00Z")),
                ("2026-01-30T23:00:00Z", open("2026-01-31T00:00:00Z")),
            ],
        );
        let always = window(&ALL, Time::midnight(), None, "Asia/Tokyo");
        check(&schedule(&[always]), &[("2026-01-29T09:00:00Z", Hours::Open(None))]);
        check(&Schedule::default(), &[("2026-01-29T09:00:00Z", Hours::Open(None))]);
    }

    #[test]
    fn a_start_is_waited_for_before_hours_are() {
        let scheduled = Schedule { start_at: Some(at("2026-01-30T16:00:00Z")), ..berlin() };
        assert_eq!(scheduled.wait(at("2026-01-30T09:00:00Z")), Some(Wait::Start(at("2026-01-30T16:00:00Z"))));
        assert_eq!(scheduled.wait(at("2026-01-30T16:00:00Z")), Some(Wait::Hours(at("2026-02-02T08:00:00Z"))));
        assert_eq!(scheduled.wait(at("2026-02-02T08:00:00Z")), None);
    }

    #[test]
    fn the_longest_stretch_between_hours_is_told() {
        let closed = |windows: &[Window]| schedule(windows).longest_closed();
        assert_eq!(berlin().longest_closed(), Some(Duration::from_secs(64 * 3_600)), "a weekend");
        let hours = |from, to| window(&ALL, time(from, 0, 0, 0), to, "UTC");
        let day = hours(8, Some(time(20, 0, 0, 0)));
        assert_eq!(closed(std::slice::from_ref(&day)), Some(Duration::from_secs(12 * 3_600)));
        assert_eq!(closed(&[day, hours(20, None)]), Some(Duration::from_secs(8 * 3_600)));
        assert_eq!(closed(&[window(&ALL, Time::midnight(), None, "UTC")]), Some(Duration::ZERO));
        assert_eq!(closed(&[]), None);
        let friday = window(&[Weekday::Friday], time(8, 0, 0, 0), Some(time(20, 0, 0, 0)), "UTC");
        assert_eq!(closed(&[friday]), Some(Duration::from_secs(156 * 3_600)), "from one week to the next");
    }

    #[test]
    fn hours_are_told_in_a_line() {
        let other = window(&[Weekday::Sunday, Weekday::Saturday], time(1, 5, 0, 0), None, "UTC");
        let both = Schedule { allowed_hours: [berlin().allowed_hours, vec![other]].concat(), start_at: None };
        let text = "mon-fri 09:00 to 17:00 Europe/Berlin and sat, sun 01:05 to 24:00 UTC";
        assert_eq!(both.hours_text(), text);
    }

    #[test]
    fn what_has_no_days_or_no_hours_is_no_window() {
        let nine = time(9, 0, 0, 0);
        assert_eq!(Window::new(&[], nine, None, TimeZone::UTC), None);
        assert_eq!(Window::new(&ALL, nine, Some(nine), TimeZone::UTC), None);
        let twice = Window::new(&[Weekday::Friday, Weekday::Friday], nine, None, TimeZone::UTC).unwrap();
        assert_eq!(twice.days(), [Weekday::Friday]);
    }
}
