//! A recording as a file: one JSON document a line (<https://github.com/ndjson/ndjson-spec>), so that other tools can read and make it.
//!
//! ```text
//! {"format":"snapback-recording","version":1,"endpoint":"chat","began_at":"2026-01-31T12:00:00.250Z","dealing":"deck","outcomes":2}
//! {"at_ms":0.0,"fleet":"blue","version":"v1","status":200,"verdict":"success","first_byte_ms":3.072,"duration_ms":4.5}
//! {"at_ms":1.25,"fleet":"green","version":"v2","shift":"chat-7","share":"5%","status":500,"verdict":"failure","failure":"server_error",
//!  "duration_ms":2.0,"rescue":"tried"}
//! ```
//!
//! Of the first line only `format` and `version` are needed. Of an outcome, `at_ms` (when it was dealt, from any beginning), `fleet`,
//! `duration_ms`, and one of `verdict`, `status` and `grpc_status`: without a verdict it is what the status means by itself. Lines may come
//! in any order. A `share` is green's at that moment; without one, green's part of all requests counts. Unknown keys are refused, since a
//! mistyped one would otherwise be silently without effect; a later format has another `version`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    alarm::Dealing,
    fleet::Side,
    meter::{FailureKind, Gaps, GrpcStatus, Record, Recorded, Rescue, Verdict},
    name::{ShiftId, Version},
    time::Moment,
    weight::Share,
};

const FORMAT: &str = "snapback-recording";
const VERSION: u32 = 2;

/// The version before, whose outcomes say nothing of a stream's gaps but the longest: its streams are taken to have had an even pace.
const WITHOUT_GAPS: u32 = 1;

/// The largest file: some three million outcomes, three times what an endpoint keeps at most.
pub const MOST_BYTES: usize = 512 << 20;

/// How far apart outcomes may be. A number beyond it is a moment in another unit.
const LONGEST: f64 = 366.0 * 86_400_000.0;

const EXAMPLE: &str =
    "an outcome looks like {\"at_ms\":12.5,\"fleet\":\"blue\",\"status\":200,\"duration_ms\":41.2}";

/// Recorded outcomes, in the order in which they were dealt.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Whose, where the file says so.
    pub endpoint: Option<String>,
    /// The wall time at which the moments begin, in RFC 3339, where the file says so.
    pub began_at: Option<String>,
    /// How requests came to their fleet.
    pub dealing: Dealing,
    /// The outcomes. Their moments count from the first.
    pub entries: Vec<Entry>,
    /// What is not as it should be, in a sentence each: a last line that breaks off, fewer outcomes than announced.
    pub remarks: Vec<String>,
}

/// One recorded outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What is known of it.
    pub record: Record,
    /// What its fleet serves.
    pub version: Option<Version>,
    /// The shift under which it was dealt.
    pub shift: Option<ShiftId>,
    /// Green's share when it was dealt.
    pub share: Option<Share>,
}

/// Why a file is not a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FileError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    began_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dealing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_ms: f64,
    fleet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shift: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_gap_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_gap_ms: Option<f64>,
    /// The times that all gaps, one in 2, one in 8 and one in 32 reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap_rungs_ms: Option<[f64; 4]>,
    #[serde(skip_serializing_if = "is_zero", default)]
    tokens: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rescue: Option<String>,
}

impl Recording {
    /// What an endpoint's workers have recorded. `began_at` is the wall time of the first outcome.
    pub fn of(recorded: Recorded, endpoint: &str, began_at: Option<String>, dealing: Dealing) -> Self {
        let Recorded { records, complete_from: _ } = recorded;
        let began = records.first().map(|(record, _)| record.dealt_at).unwrap_or_default();
        let entry = |(line, (record, part)): (usize, (Record, std::sync::Arc<crate::meter::Part>))| {
            let dealt_at = Moment::default().after(record.dealt_at.since(began));
            let version = match record.side {
                Side::Blue => Some(part.blue.clone()),
                Side::Green => part.green.clone(),
            };
            let share = part.shift.as_ref().map(|_| part.share);
            let record = Record { dealt_at, part: 0, ..record };
            Entry { line, record, version, shift: part.shift.clone(), share }
        };
        let entries = (2..).zip(records).map(entry).collect();
        Self { endpoint: Some(endpoint.to_owned()), began_at, dealing, entries, remarks: Vec::new() }
    }

    /// Some lines of the file with their ends, from the outcome at this place, and the place that follows; `None` after the last. The first
    /// line comes before the outcome at 0.
    pub fn text(&self, from: usize, count: usize) -> (String, Option<usize>) {
        let to = from.saturating_add(count).min(self.entries.len());
        let mut text = String::new();
        if from == 0 {
            text.push_str(&self.head());
            text.push('\n');
        }
        for entry in self.entries.get(from..to).unwrap_or_default() {
            text.push_str(&json(&Line::of(entry)));
            text.push('\n');
        }
        (text, (to < self.entries.len()).then_some(to))
    }

    fn head(&self) -> String {
        json(&Head {
            format: FORMAT.to_owned(),
            version: VERSION,
            endpoint: self.endpoint.clone(),
            began_at: self.began_at.clone(),
            dealing: Some(dealing_name(self.dealing).to_owned()),
            outcomes: Some(self.entries.len()),
        })
    }

    /// Reads a file.
    pub fn parse(file: &[u8]) -> Result<Self, FileError> {
        let mut lines = (1..).zip(file.split(|byte| *byte == b'\n')).peekable();
        let head = match lines.next() {
            Some((line, text)) if !text.trim_ascii().is_empty() => Head::parse(line, text)?,
            Some(_) | None => return Err(FileError { line: 1, message: wants_head("it is empty") }),
        };
        let (mut entries, mut remarks) = (Vec::new(), Vec::new());
        while let Some((line, text)) = lines.next() {
            if text.trim_ascii().is_empty() {
                continue;
            }
            match Line::parse(text).and_then(|parsed| parsed.entry(line, head.version)) {
                Ok(entry) => entries.push(entry),
                // What follows the last line's end is empty where the file is whole.
                Err(_) if lines.peek().is_none() => {
                    remarks.push(format!("line {line}, the last, breaks off and is left out"));
                }
                Err(message) => return Err(FileError { line, message }),
            }
        }
        let announced = head.outcomes.filter(|announced| *announced != entries.len());
        remarks.extend(announced.map(|announced| {
            format!("it has {} of the {announced} outcomes that it announces", entries.len())
        }));
        entries.sort_by_key(|entry: &Entry| entry.record.dealt_at);
        let began = entries.first().map(|entry| entry.record.dealt_at).unwrap_or_default();
        for entry in &mut entries {
            entry.record.dealt_at = Moment::default().after(entry.record.dealt_at.since(began));
        }
        let Head { format: _, version: _, endpoint, began_at, dealing, outcomes: _ } = head;
        let dealing = if dealing.as_deref() == Some("sticky") { Dealing::Sticky } else { Dealing::Deck };
        Ok(Self { endpoint, began_at, dealing, entries, remarks })
    }

    /// How long it is, from the first request to the last.
    pub fn span(&self) -> Duration {
        self.entries.last().map(|last| last.record.dealt_at.since(Moment::default())).unwrap_or_default()
    }
}

impl Head {
    fn parse(line: usize, text: &[u8]) -> Result<Self, FileError> {
        let error = |message| FileError { line, message };
        let head: Self =
            serde_json::from_slice(text).map_err(|problem| error(wants_head(&without_place(&problem))))?;
        if head.format != FORMAT {
            return Err(error(wants_head(&format!("its format is {:?}", shortened(&head.format)))));
        }
        if !(WITHOUT_GAPS..=VERSION).contains(&head.version) {
            let message =
                format!("version {} is not known, this is for version {VERSION} and before", head.version);
            return Err(error(message));
        }
        match head.dealing.as_deref() {
            None | Some("deck" | "sticky") => Ok(head),
            Some(other) => {
                Err(error(format!("dealing: {:?} is neither \"deck\" nor \"sticky\"", shortened(other))))
            }
        }
    }
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let Entry { line: _, record, version, shift, share } = entry;
        let Record {
            dealt_at,
            side,
            part: _,
            verdict,
            status,
            grpc_status,
            first_byte,
            first_token,
            worst_gap,
            gaps,
            tokens_out,
            duration,
            rescue,
        } = record.clone();
        Self {
            at_ms: millis(dealt_at.since(Moment::default())),
            fleet: side.as_str().to_owned(),
            version: version.as_ref().map(ToString::to_string),
            shift: shift.as_ref().map(ToString::to_string),
            share: share.as_ref().map(ToString::to_string),
            status,
            grpc_status: grpc_status.map(|status| status.as_str().to_owned()),
            verdict: Some(verdict.as_str().to_owned()),
            failure: match verdict {
                Verdict::Failure(kind) => Some(kind.as_str().to_owned()),
                Verdict::Success
                | Verdict::ClientError
                | Verdict::Excused
                | Verdict::ClientGone
                | Verdict::Shed => None,
            },
            first_byte_ms: first_byte.map(millis),
            first_token_ms: first_token.map(millis),
            worst_gap_ms: worst_gap.map(millis),
            mean_gap_ms: gaps.map(|gaps| millis(gaps.mean)),
            gap_rungs_ms: gaps.map(|gaps| gaps.rungs().map(millis)),
            tokens: tokens_out,
            duration_ms: millis(duration),
            rescue: rescue.map(|rescue| rescue.as_str().to_owned()),
        }
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|problem| format!("{}; {EXAMPLE}", without_place(&problem)))
    }

    fn entry(self, line: usize, version: u32) -> Result<Entry, String> {
        let verdict = self.judged()?;
        let gaps = self.gaps(verdict, version)?;
        let grpc_status = self.grpc()?;
        let Self {
            at_ms,
            fleet,
            version,
            shift,
            share,
            status,
            grpc_status: _,
            verdict: _,
            failure: _,
            first_byte_ms,
            first_token_ms,
            worst_gap_ms,
            mean_gap_ms: _,
            gap_rungs_ms: _,
            tokens,
            duration_ms,
            rescue,
        } = self;
        let optional = |key, time: Option<f64>| time.map(|time| span(key, time)).transpose();
        let record = Record {
            dealt_at: Moment::default().after(span("at_ms", at_ms)?),
            side: named("fleet", &fleet, [Side::Blue, Side::Green], Side::as_str)?,
            part: 0,
            verdict,
            status,
            grpc_status,
            first_byte: optional("first_byte_ms", first_byte_ms)?,
            first_token: optional("first_token_ms", first_token_ms)?,
            worst_gap: optional("worst_gap_ms", worst_gap_ms)?,
            gaps,
            tokens_out: tokens,
            duration: span("duration_ms", duration_ms)?,
            rescue: rescue
                .map(|rescue| named("rescue", &rescue, [Rescue::Tried, Rescue::Failed], Rescue::as_str))
                .transpose()?,
        };
        let version = version.map(|version| Version::parse(&version)).transpose();
        let shift = shift.map(|shift| ShiftId::parse(&shift)).transpose();
        let share = share.map(|share| Share::parse(&share)).transpose();
        Ok(Entry {
            line,
            record,
            version: version.map_err(|error| format!("version: {error}"))?,
            shift: shift.map_err(|error| format!("shift: {error}"))?,
            share: share.map_err(|error| format!("share: {error}"))?,
        })
    }

    fn gaps(&self, verdict: Verdict, version: u32) -> Result<Option<Gaps>, String> {
        let even = |mean| Gaps::of(mean, [mean; 4]);
        match (self.mean_gap_ms, self.gap_rungs_ms) {
            (Some(mean), None) => Ok(Some(even(span("mean_gap_ms", mean)?))),
            (Some(mean), Some(rungs)) => {
                let mut times = [Duration::ZERO; 4];
                for (time, rung) in times.iter_mut().zip(rungs) {
                    *time = span("gap_rungs_ms", rung)?;
                }
                Ok(Some(Gaps::of(span("mean_gap_ms", mean)?, times)))
            }
            (None, Some(_)) => Err("gap_rungs_ms: there is no mean_gap_ms".to_owned()),
            (None, None) if version == WITHOUT_GAPS && verdict == Verdict::Success => {
                let gaps = u32::try_from(self.tokens.saturating_sub(1)).unwrap_or(u32::MAX);
                let first = self.first_token_ms.map(|first| span("first_token_ms", first)).transpose()?;
                let tokens_took =
                    span("duration_ms", self.duration_ms)?.saturating_sub(first.unwrap_or_default());
                Ok(first.and_then(|_| tokens_took.checked_div(gaps)).map(even))
            }
            (None, None) => Ok(None),
        }
    }

    fn judged(&self) -> Result<Verdict, String> {
        let kind = match &self.failure {
            Some(kind) => named("failure", kind, FailureKind::ALL, FailureKind::as_str)?,
            None => FailureKind::ServerError,
        };
        let known = [
            Verdict::Success,
            Verdict::ClientError,
            Verdict::Failure(kind),
            Verdict::Excused,
            Verdict::ClientGone,
            Verdict::Shed,
        ];
        if let Some(verdict) = &self.verdict {
            return named("verdict", verdict, known, Verdict::as_str);
        }
        match (self.grpc()?, self.status) {
            _ if self.failure.is_some() => Ok(Verdict::Failure(kind)),
            (Some(status), _) => Ok(status.verdict()),
            (None, Some(status)) => Ok(Verdict::of_status(status)),
            (None, None) => Err(format!("one of verdict, status and grpc_status is needed; {EXAMPLE}")),
        }
    }

    fn grpc(&self) -> Result<Option<GrpcStatus>, String> {
        let status = self.grpc_status.as_deref();
        status.map(|status| named("grpc_status", status, GrpcStatus::ALL, GrpcStatus::as_str)).transpose()
    }
}

fn named<T: Copy, const N: usize>(
    key: &str,
    given: &str,
    known: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let found = known.into_iter().find(|known| name(*known) == given);
    found.ok_or_else(|| {
        let names: Vec<_> = known.into_iter().map(name).collect();
        format!("{key}: {:?} is none of {}", shortened(given), names.join(", "))
    })
}

fn span(key: &str, millis: f64) -> Result<Duration, String> {
    if (0.0..=LONGEST).contains(&millis) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        let nanos = (millis * 1e6).round() as u64;
        Ok(Duration::from_nanos(nanos))
    } else {
        Err(format!("{key}: {millis} is no time in milliseconds from 0 to {LONGEST}, which is a year"))
    }
}

fn millis(time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to a hundred days")]
    let nanos = time.as_nanos() as f64;
    nanos / 1e6
}

fn dealing_name(dealing: Dealing) -> &'static str {
    match dealing {
        Dealing::Deck => "deck",
        Dealing::Sticky => "sticky",
    }
}

fn wants_head(but: &str) -> String {
    format!("{but}, but a recording begins with {{\"format\":\"{FORMAT}\",\"version\":{VERSION}}}")
}

/// The line is one document, so the parser's line is always 1.
fn without_place(problem: &serde_json::Error) -> String {
    let text = problem.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and finite numbers are JSON")
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
