//! Reads and writes what an endpoint says about instances in trouble.

use serde_json::{Value as Json, json};

use super::{
    reader::{Table, whole, word},
    shape,
    units::{positive_duration, share},
};
use crate::{
    fleet::EjectionRule,
    route::{EjectingFleets, Ejection, Protection, Statuses},
    time::format_duration,
};

/// So many in a row are never met; more is a slip.
const MAX_FAILURES: u32 = 1_000;

const FLEETS: [(&str, EjectingFleets); 2] = [
    (EjectingFleets::Blue.as_str(), EjectingFleets::Blue),
    (EjectingFleets::Both.as_str(), EjectingFleets::Both),
];

/// From `[[endpoint]]`.
pub(super) fn read(endpoint: &Table<'_>) -> Protection {
    Protection { ejection: read_ejection(&endpoint.section("ejection", &shape::EJECTION)) }
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
    let Protection { ejection } = protection;
    endpoint["ejection"] = render_ejection(ejection);
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
