//! What the story came to: whether it really happened, and the figures.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    clients::{Failure, Tally},
    story::Played,
};
use crate::{admin::wire, time::WallTime};

/// The moments of a shift are computed from a monotonic clock, those of clients are read from the wall clock, and both are cut to
/// milliseconds: what is this much later may be the same moment.
const ROUNDING_MS: i64 = 2;

/// The moment that is missing when all went well.
const SEEN_BY_A_CLIENT: &str = "a client saw it break";

/// The report; `--json` prints it as it is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// v2's shift, if it was promoted.
    promoted: Option<wire::Shift>,
    /// v3's shift, if it rolled back.
    rolled_back: Option<wire::Shift>,
    /// Requests that came to an end, good or bad.
    client_requests: u64,
    /// Those without a good answer.
    client_failures: u64,
    /// Of these, sent before v3's shift began.
    client_failures_before: usize,
    /// Of these, sent while v3 could get requests.
    client_failures_during: usize,
    /// Of these, sent after the snapback.
    client_failures_after: usize,
    /// Failures of v3 that blue answered instead, so that no client saw them.
    rescued: u64,
    /// Of good answers, request to last byte.
    client_p50_ms: Option<f64>,
    /// Of good answers, request to last byte.
    client_p99_ms: Option<f64>,
    /// When the first client of v3 knew that its request had failed, if one ever did.
    broke_at: Option<String>,
    /// v3's, from its shift.
    breach_at: Option<String>,
    /// v3's, from its shift.
    decided_at: Option<String>,
    /// v3's, from its shift.
    published_at: Option<String>,
    /// v3's, from its shift.
    last_green_dispatch_at: Option<String>,
    /// v3's, from its shift.
    green_responses_to_decision: Option<u64>,
    /// v3's, from its shift.
    decision_ms: Option<f64>,
    /// v3's, from its shift.
    publish_to_last_green_dispatch_ms: Option<f64>,
    /// What of the story did not happen, a sentence each.
    missing: Vec<String>,
}

/// Clients' failures by when they were sent.
#[derive(Debug, Default)]
struct Failures<'a> {
    before: Vec<&'a Failure>,
    during: Vec<&'a Failure>,
    after: Vec<&'a Failure>,
}

impl Report {
    pub(super) fn of(played: &Played) -> Self {
        let Played { good, bad, tally } = played;
        let failures = Failures::sort(tally, bad.as_ref());
        let promoted = good.clone().filter(|shift| shift.state == "promoted");
        let rolled_back = bad.clone().filter(|shift| shift.state == "rolled_back");
        let latency = |quantile| tally.latency.quantile(quantile).map(millis);
        let of_bad =
            |moment: fn(&wire::Shift) -> &Option<String>| bad.as_ref().and_then(|s| moment(s).clone());
        Self {
            client_requests: tally.requests(),
            client_failures: tally.failed,
            client_failures_before: failures.before.len(),
            client_failures_during: failures.during.len(),
            client_failures_after: failures.after.len(),
            rescued: bad.as_ref().map_or(0, |shift| {
                let traffic = &shift.fleets.green.traffic;
                traffic.rescued.saturating_sub(traffic.rescue_failed)
            }),
            client_p50_ms: latency(0.5),
            client_p99_ms: latency(0.99),
            broke_at: failures.during.iter().map(|failure| failure.ended_at).min().map(|at| at.to_string()),
            breach_at: of_bad(|shift| &shift.breach_at),
            decided_at: of_bad(|shift| &shift.decided_at),
            published_at: of_bad(|shift| &shift.published_at),
            last_green_dispatch_at: of_bad(|shift| &shift.last_green_dispatch_at),
            green_responses_to_decision: bad.as_ref().and_then(|shift| shift.green_responses_to_decision),
            decision_ms: bad.as_ref().and_then(|shift| shift.decision_ms),
            publish_to_last_green_dispatch_ms: bad
                .as_ref()
                .and_then(|shift| shift.publish_to_last_green_dispatch_ms),
            missing: missing(good.as_ref(), bad.as_ref(), &failures),
            promoted,
            rolled_back,
        }
    }

    /// Whether the whole story did.
    pub(super) fn happened(&self) -> bool {
        self.missing.is_empty()
    }
}

impl<'a> Failures<'a> {
    fn sort(tally: &'a Tally, bad: Option<&wire::Shift>) -> Self {
        let begun = bad.and_then(|shift| wall(&shift.started_at));
        let over = bad.and_then(|shift| {
            let published = wall(shift.published_at.as_deref()?)?;
            let last = shift.last_green_dispatch_at.as_deref().and_then(wall);
            Some(last.map_or(published, |last| last.max(published)))
        });
        let mut sorted = Self::default();
        for failure in &tally.failures {
            let place = match (begun, over) {
                (None, _) => &mut sorted.before,
                (Some(begun), _) if failure.sent_at < begun => &mut sorted.before,
                (Some(_), Some(over)) if failure.sent_at.as_millis() > over.as_millis() + ROUNDING_MS => {
                    &mut sorted.after
                }
                (Some(_), Some(_) | None) => &mut sorted.during,
            };
            place.push(failure);
        }
        sorted
    }
}

fn missing(good: Option<&wire::Shift>, bad: Option<&wire::Shift>, failures: &Failures<'_>) -> Vec<String> {
    let mut missing = Vec::new();
    match good {
        Some(shift) if shift.state == "promoted" => {}
        Some(shift) => missing.push(format!("v2 was not promoted: {}", end_of(shift))),
        None => missing.push("v2's shift was not over in time".to_owned()),
    }
    let has_alarm = |shift: &wire::Shift| shift.cause.as_ref().is_some_and(|cause| cause.kind == "alarm");
    match bad {
        Some(shift) if shift.state == "rolled_back" && has_alarm(shift) => {}
        Some(shift) => missing.push(format!("v3 was not rolled back by an alarm: {}", end_of(shift))),
        None if missing.is_empty() => missing.push("v3's shift was not over in time".to_owned()),
        None => {}
    }
    for (failures, when) in
        [(&failures.before, "before v3's shift began"), (&failures.after, "after the snapback")]
    {
        if let Some(first) = failures.first() {
            let count = failures.len();
            missing
                .push(format!("{count} requests of clients failed {when}, the first with: {}", first.what));
        }
    }
    missing
}

fn end_of(shift: &wire::Shift) -> String {
    let cause = shift.cause.as_ref().map(|cause| format!(", {}", cause.text)).unwrap_or_default();
    format!("it is {}{cause}", shift.state)
}

/// Milliseconds with three decimals: the histogram knows no more.
fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

fn wall(text: &str) -> Option<WallTime> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    Some(WallTime::from_millis(stamp.as_millisecond()))
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "What happened")?;
        if let Some(shift) = &self.promoted {
            let traffic = &shift.fleets.green.traffic;
            let steps: Vec<&str> = shift.steps.iter().map(|step| step.share.as_str()).collect();
            let (steps, requests, failed) = (steps.join(", "), traffic.requests, traffic.failed);
            writeln!(
                f,
                "  v2 was promoted by way of {steps}: {requests} requests while it came in, {failed} failed"
            )?;
        }
        if let Some(shift) = &self.rolled_back {
            let traffic = &shift.fleets.green.traffic;
            let (requests, failed) = (traffic.requests, traffic.failed);
            writeln!(
                f,
                "  v3 was rolled back at {}: it had got {requests} requests and failed {failed}, of which {} were rescued",
                step_of(shift),
                self.rescued
            )?;
            self.moments(f, shift)?;
        }
        self.clients(f)?;
        if let Some(shift) = &self.rolled_back {
            writeln!(f, "\nWhy v3 was rolled back\n{}", indented(&shift.explanation))?;
        }
        if !self.missing.is_empty() {
            writeln!(f, "\nThe story did not happen as it should")?;
            for sentence in &self.missing {
                writeln!(f, "  {sentence}")?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn moments(&self, f: &mut fmt::Formatter<'_>, shift: &wire::Shift) -> fmt::Result {
        let decided =
            self.decision_ms.map(|ms| format!("{ms:.2} ms after the response that tipped the alarm"));
        let responses =
            self.green_responses_to_decision.map(|count| format!("v3 had answered {count} requests"));
        let last = self
            .publish_to_last_green_dispatch_ms
            .map(|ms| format!("{ms:.2} ms after the blue-only table was out"));
        for (what, at, note) in [
            (SEEN_BY_A_CLIENT, &self.broke_at, None),
            ("the alarm tipped", &self.breach_at, responses),
            ("decided", &self.decided_at, decided),
            ("blue-only table out", &self.published_at, None),
            ("last request to v3", &self.last_green_dispatch_at, last),
            ("v3 had nothing in flight", &shift.drained_at, None),
        ] {
            // A v3 whose failures were all rescued was seen to break by no client.
            if at.is_none() && what == SEEN_BY_A_CLIENT {
                continue;
            }
            let at = at.as_deref().map_or("-", time_of_day);
            let note = note.unwrap_or_default();
            writeln!(f, "{}", format!("    {what:<26}{at:<15}{note}").trim_end())?;
        }
        Ok(())
    }

    fn clients(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_requests, client_failures, .. } = self;
        let (before, during, after) =
            (self.client_failures_before, self.client_failures_during, self.client_failures_after);
        writeln!(f, "\nWhat clients saw")?;
        writeln!(
            f,
            "  {client_requests} requests, of which {client_failures} failed; {} of v3's failures were rescued by v2",
            self.rescued
        )?;
        writeln!(
            f,
            "  {before} before v3, {during} while v3 could get requests, {after} after the snapback"
        )?;
        if let (Some(p50), Some(p99)) = (self.client_p50_ms, self.client_p99_ms) {
            writeln!(f, "  good answers took {p50:.0} ms at the median, {p99:.0} ms at p99")?;
        }
        Ok(())
    }
}

fn step_of(shift: &wire::Shift) -> String {
    let step = shift.step.and_then(|step| shift.steps.get(step.checked_sub(1)?));
    step.map_or_else(|| "its first step".to_owned(), |step| step.share.clone())
}

/// `12:00:00.250` of `2026-01-31T12:00:00.250Z`.
fn time_of_day(moment: &str) -> &str {
    moment.split_once('T').map_or(moment, |(_, time)| time.trim_end_matches('Z'))
}

/// In paragraphs that fit a terminal, two columns in.
fn indented(text: &str) -> String {
    const COLUMNS: usize = 98;
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { "  " } else { " " });
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
