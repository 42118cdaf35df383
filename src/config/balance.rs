//! Reads and writes how an endpoint's instances share its requests: a word, or a table that says what requests are hashed by.

use serde_json::{Value as Json, json};

use super::{
    document::Value,
    reader::{Table, text, word},
    rescue, shape,
    units::{format_size, size},
};
use crate::route::{Balance, HashKey};

/// The prefix of a prompt is held to find its hash, so it is no larger than what is looked at anyway.
const MAX_PREFIX: u64 = 64 << 10;

/// From `[[endpoint]]`.
pub(super) fn read(endpoint: &Table<'_>) -> Balance {
    let is_table = |value: &Value| Ok(value.as_table().is_some());
    if endpoint.optional("balance", is_table) == Some(true) {
        return endpoint
            .table("balance", &shape::BALANCE)
            .and_then(|table| read_hash(&table))
            .unwrap_or_default();
    }
    let words = [
        ("least_of_two", &Balance::LeastOfTwo),
        ("round_robin", &Balance::RoundRobin),
        ("random", &Balance::Random),
    ];
    endpoint.optional("balance", word(&words)).cloned().unwrap_or_default()
}

fn read_hash(table: &Table<'_>) -> Option<Balance> {
    let bound_percent = table.optional("load_bound", bound).unwrap_or(125);
    let prefix = table.optional("prompt_prefix", size(1, MAX_PREFIX));
    let key = match (prefix, table.has("prompt_prefix")) {
        (Some(bytes), _) => {
            for key in ["header", "cookie"] {
                if table.has(key) {
                    table.problem(key, "stands beside prompt_prefix: leave one of the two out");
                }
            }
            HashKey::PromptPrefix { bytes: usize::try_from(bytes).ok()? }
        }
        (None, true) => return None,
        (None, false) => HashKey::Session(rescue::read_sticky(table)?),
    };
    Some(Balance::Hash { key, bound_percent })
}

/// At 100 % every request would wait for the one before it to go elsewhere, and above ten times the part nothing is bounded.
fn bound(value: &Value) -> Result<u16, String> {
    let error = || {
        format!(
            "expected a whole percentage from \"101%\" to \"1000%\", such as \"125%\", not {}",
            value.describe()
        )
    };
    let number = text(value).map_err(|_| error())?.strip_suffix('%').ok_or_else(error)?;
    let is_whole = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|percent| is_whole && (101..=1000).contains(percent)).ok_or_else(error)
}

pub(super) fn render(balance: &Balance) -> Json {
    match balance {
        Balance::LeastOfTwo => json!("least_of_two"),
        Balance::RoundRobin => json!("round_robin"),
        Balance::Random => json!("random"),
        Balance::Hash { key, bound_percent } => {
            let mut document = match key {
                HashKey::Session(session) => rescue::render_sticky(session),
                HashKey::PromptPrefix { bytes } => {
                    json!({ "prompt_prefix": format_size(u64::try_from(*bytes).unwrap_or(u64::MAX)) })
                }
            };
            document["load_bound"] = json!(format!("{bound_percent}%"));
            document
        }
    }
}
