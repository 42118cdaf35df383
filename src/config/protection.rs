//! Reads and writes what an endpoint says about instances in trouble.

use std::num::NonZeroU32;

use serde_json::{Value as Json, json};

use super::{
    document::Value,
    reader::{Table, whole, word},
    shape,
    units::{duration, positive_duration, share},
};
use crate::{
    fleet::EjectionRule,
    route::{Admission, Blame, EjectingFleets, Ejection, Protection, ShedStatus, Statuses},
    time::format_duration,
};

/// So many in a row are never met; more is a slip.
const MAX_FAILURES: u32 = 1_000;

/// No server takes more at a time.
const MAX_CONCURRENCY: u32 = 1_000_000;

/// Each costs some hundred bytes and its client's connection; more is no queue but a failure that comes late.
const MAX_QUEUE: usize = 100_000;

const FLEETS: [(&str, EjectingFleets); 2] = [
    (EjectingFleets::Blue.as_str(), EjectingFleets::Blue),
    (EjectingFleets::Both.as_str(), EjectingFleets::Both),
];

/// From `[[endpoint]]`.
pub(super) fn read(endpoint: &Table<'_>) -> Protection {
    Protection {
        admission: read_admission(&endpoint.section("admission", &shape::ADMISSION)),
        ejection: read_ejection(&endpoint.section("ejection", &shape::EJECTION)),
        slow_start: endpoint.optional("slow_start", duration).unwrap_or_default(),
    }
}

fn read_admission(table: &Table<'_>) -> Admission {
    let default = Admission::default();
    let blame = [(Blame::Nobody.as_str(), Blame::Nobody), (Blame::Fleet.as_str(), Blame::Fleet)];
    Admission {
        max_concurrency: table.optional("max_concurrency", max_concurrency),
        queue: table.optional("queue", whole(0..=MAX_QUEUE)).unwrap_or(default.queue),
        queue_timeout: table.optional("queue_timeout", positive_duration).unwrap_or(default.queue_timeout),
        shed_status: table.optional("shed_status", shed_status).unwrap_or(default.shed_status),
        blame: table.optional("blame", word(&blame)).unwrap_or(default.blame),
    }
}

/// How many requests an instance takes at a time.
pub(super) fn max_concurrency(value: &Value) -> Result<NonZeroU32, String> {
    let most = whole(1..=MAX_CONCURRENCY)(value)?;
    NonZeroU32::new(most).ok_or_else(|| "must be at least 1".to_owned())
}

fn shed_status(value: &Value) -> Result<ShedStatus, String> {
    let known = [ShedStatus::ServiceUnavailable, ShedStatus::TooManyRequests];
    let found = known.into_iter().find(|status| *value == Value::Integer(status.code().into()));
    found.ok_or_else(|| format!("expected 503 or 429, not {}", value.describe()))
}

fn read_ejection(table: &Table<'_>) -> Ejection {
    let default = Ejection::default();
    let after = table.optional("after", whole(0..=MAX_FAILURES));
    let statuses = table.list("statuses", "[502, 503, 504]", whole(Statuses::RANGE));
    let base_time = table.optional("base_time", positive_duration);
    let longest_time = table.optional("longest_time", positive_duration);
    let rule = EjectionRule {
        after: after.unwrap_or(default.rule.after),
        base_time: base_time.unwrap_or(default.rule.base_time),
        longest_time: longest_time.unwrap_or(default.rule.longest_time),
        max_share: table.optional("max_share", share).unwrap_or(default.rule.max_share),
    };
    if rule.base_time > rule.longest_time {
        let longest = format_duration(rule.longest_time);
        table.problem(
            "base_time",
            format!(
                "is longer than longest_time, which is {longest}: make it shorter, or longest_time longer"
            ),
        );
    }
    Ejection {
        rule,
        statuses: statuses
            .map_or(default.statuses, |listed| Statuses::of(listed.into_iter().map(|status| status.value))),
        fleets: table.optional("fleets", word(&FLEETS)).unwrap_or(default.fleets),
    }
}

/// Adds its tables to an endpoint's.
pub(super) fn render(protection: &Protection, endpoint: &mut Json) {
    let Protection { ejection, admission, slow_start } = protection;
    endpoint["slow_start"] = json!(format_duration(*slow_start));
    endpoint["admission"] = render_admission(admission);
    endpoint["ejection"] = render_ejection(ejection);
}

fn render_admission(admission: &Admission) -> Json {
    let Admission { max_concurrency, queue, queue_timeout, shed_status, blame } = admission;
    let mut document = json!({
        "queue": queue,
        "queue_timeout": format_duration(*queue_timeout),
        "shed_status": shed_status.code(),
        "blame": blame.as_str(),
    });
    if let Some(most) = max_concurrency {
        document["max_concurrency"] = json!(most);
    }
    document
}

fn render_ejection(ejection: &Ejection) -> Json {
    let Ejection { rule, statuses, fleets } = ejection;
    let EjectionRule { after, base_time, longest_time, max_share } = rule;
    json!({
        "after": after,
        "statuses": statuses.iter().collect::<Vec<_>>(),
        "base_time": format_duration(*base_time),
        "longest_time": format_duration(*longest_time),
        "max_share": max_share.to_string(),
        "fleets": fleets.as_str(),
    })
}
