//! Reads and writes how fast a plan lets green be judged: what it may warm up with.

use serde_json::{Value as Json, json};

use super::{
    reader::{Table, whole},
    units::positive_duration,
};
use crate::{meter::WarmUp, time::format_duration};

/// A model server that is not warm by then never is.
const MAX_WARM_UP: u32 = 100_000;

/// So many requests or so much time, not both: which of the two ends it would depend on the traffic.
pub(super) fn read_warm_up(table: &Table<'_>) -> Option<WarmUp> {
    let requests = table.optional("requests", whole(1..=MAX_WARM_UP)).map(WarmUp::Requests);
    let time = table.optional("time", positive_duration).map(WarmUp::Time);
    match (table.has("requests"), table.has("time")) {
        (true, true) => table.problem(
            "time",
            "a warm-up is over after so many requests or after a time: leave one of the two out",
        ),
        (false, false) => {
            table.problem("requests", "is missing, and so is time; write requests = 50 or time = \"30s\"")
        }
        (true, false) | (false, true) => {}
    }
    requests.or(time)
}

pub(super) fn render_warm_up(warm_up: WarmUp) -> Json {
    match warm_up {
        WarmUp::Requests(requests) => json!({ "requests": requests }),
        WarmUp::Time(span) => json!({ "time": format_duration(span) }),
    }
}
