//! How external alarms are asked for their state: `poll` and `prometheus` of an `[[external]]`.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value as Json, json};

use super::{
    document::{Value, quoted},
    externals::STATES,
    reader::{Table, parsed, text, whole, word},
    shape,
    thresholds::{COMPARISONS, datapoints},
    units::duration,
};
use crate::{
    alarm::{AlarmState, Comparison, Method, Poll, PollUrl, Query, Question, Token},
    time::format_duration,
};

/// Often enough for a bake of minutes, and rare enough for a Prometheus that many ask. Scrapes are 15 to 60 seconds apart, so a query that
/// is asked more often mostly gives the same value again.
const DEFAULT_EVERY: Duration = Duration::from_secs(10);
const SHORTEST_EVERY: Duration = Duration::from_secs(1);
const LONGEST_EVERY: Duration = Duration::from_secs(60 * 60);

/// A question that takes longer says little about now.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Argo Rollouts bears four failures in a row as well (`consecutiveErrorLimit`).
const DEFAULT_ERRORS: u32 = 5;
const MOST_ERRORS: u32 = 100;

/// Past this a query belongs into a recording rule.
const LONGEST_QUERY: usize = 4_096;

/// Only such variables: whoever may write a plan must not be able to send the others elsewhere.
const TOKEN_VARIABLES: &str = "SNAPBACK_TOKEN_";

const METHODS: [(&str, Method); 2] = [("GET", Method::Get), ("POST", Method::Post)];

/// `poll` or `prometheus`, if one is there. `on_expiry` is what an alarm of failing polls says by default.
pub(super) fn read(external: &Table<'_>, on_expiry: AlarmState) -> Option<Poll> {
    let webhook = external.table("poll", &shape::EXTERNAL_POLL);
    let prometheus = external.table("prometheus", &shape::EXTERNAL_PROMETHEUS);
    if external.has("poll") && external.has("prometheus") {
        external.problem("prometheus", "an alarm has one source: keep either poll or prometheus");
    }
    match (webhook, prometheus) {
        (Some(table), _) => {
            let method = table.optional("method", word(&METHODS)).unwrap_or(Method::Get);
            read_poll(&table, Some(Question::Webhook(method)), on_expiry)
        }
        (None, Some(table)) => read_poll(&table, read_query(&table).map(Question::Prometheus), on_expiry),
        (None, None) => None,
    }
}

/// A lease that holds over one question that fails, and at least a minute.
pub(super) fn default_lease(poll: &Poll, least: Duration) -> Duration {
    (3 * (poll.every + poll.timeout)).max(least)
}

/// An answer must hold until the next can be there.
pub(super) fn check_lease(external: &Table<'_>, poll: &Poll, lease: Duration) {
    let least = poll.every + poll.timeout;
    if lease < least {
        external.problem(
            "lease",
            format!(
                "must be {} or longer, which is every and timeout together, or answers would expire before the next one: not {}",
                format_duration(least),
                format_duration(lease)
            ),
        );
    }
}

fn read_poll(table: &Table<'_>, question: Option<Question>, on_expiry: AlarmState) -> Option<Poll> {
    let url = table.required("url", "\"https://grader.internal/state\"", parsed(PollUrl::parse));
    let every = table.optional("every", span(SHORTEST_EVERY, LONGEST_EVERY)).unwrap_or(DEFAULT_EVERY);
    let timeout =
        table.optional("timeout", span(SHORTEST_TIMEOUT, LONGEST_TIMEOUT)).unwrap_or(DEFAULT_TIMEOUT);
    let (least, of) = table.optional("datapoints", datapoints).unwrap_or((1, 1));
    let errors = table.optional("errors", whole(1..=MOST_ERRORS)).unwrap_or(DEFAULT_ERRORS);
    let on_error = table.optional("on_error", word(&STATES)).unwrap_or(on_expiry);
    let token = read_token(table);
    let ca = table.optional("ca", path);
    if ca.is_some() && url.as_ref().is_some_and(|url| !url.is_secure()) {
        table.problem("ca", "has no use with an http URL: write https, or leave it out");
    }
    Some(Poll {
        question: question?,
        url: url?,
        every,
        timeout,
        answers: of,
        datapoints: least,
        errors,
        on_error,
        token,
        ca,
    })
}

fn read_query(table: &Table<'_>) -> Option<Query> {
    let query = table.required("query", "\"sum(rate(bad_total[1m]))\"", query);
    let missing = table.optional("missing", word(&STATES)).unwrap_or(AlarmState::InsufficientData);
    let (comparison, bound) = read_bound(table)?;
    Some(Query { text: query?, comparison, bound, missing })
}

fn read_bound(table: &Table<'_>) -> Option<(Comparison, f64)> {
    let given: Vec<_> = COMPARISONS.into_iter().filter(|(key, _)| table.has(key)).collect();
    match given.as_slice() {
        [(key, comparison)] => Some((*comparison, table.optional(key, number)?)),
        [] => {
            table.problem("above", "is missing; write above = 0.05, or at_least, below or at_most");
            None
        }
        [_, (second, _), ..] => {
            table.problem(second, "an alarm has one bound: keep one of above, at_least, below and at_most");
            None
        }
    }
}

fn read_token(table: &Table<'_>) -> Option<Token> {
    let file = table.optional("token_file", path).map(Token::File);
    let variable = table.optional("token_env", variable).map(Token::Environment);
    if table.has("token_file") && table.has("token_env") {
        table.problem("token_env", "there is one token: keep either token_file or token_env");
    }
    file.or(variable)
}

fn query(value: &Value) -> Result<String, String> {
    let query = text(value)?;
    if query.trim().is_empty() || query.len() > LONGEST_QUERY {
        return Err(format!("must be from 1 to {LONGEST_QUERY} bytes long, not {}", query.len()));
    }
    match Query::unknown_placeholder(query) {
        Some(name) => {
            Err(format!("${name} stands for nothing: there are ${}", Query::PLACEHOLDERS.join(", $")))
        }
        None => Ok(query.to_owned()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bound beyond 2^53 is no bound that anybody means")]
fn number(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Date(_) | Value::List(_) | Value::Table(_) => {
            return Err(format!(
                "expected a number such as 0.05, in the query's unit, not {}",
                value.describe()
            ));
        }
    };
    if number.is_finite() { Ok(number) } else { Err("must be a finite number".to_owned()) }
}

fn span(least: Duration, most: Duration) -> impl Fn(&Value) -> Result<Duration, String> {
    move |value| match duration(value)? {
        span if (least..=most).contains(&span) => Ok(span),
        span => Err(format!(
            "must be from {} to {}, not {}",
            format_duration(least),
            format_duration(most),
            format_duration(span)
        )),
    }
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match text(value)? {
        "" => Err(format!("{} is not a path", quoted(""))),
        path => Ok(path.into()),
    }
}

fn variable(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let rest = name.strip_prefix(TOKEN_VARIABLES);
    let is_word = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if rest.is_some_and(|rest| (1..=64).contains(&rest.len()) && is_word(rest)) {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "{} is not a variable for a token: its name begins with {TOKEN_VARIABLES}, so that no plan can send other variables away",
            quoted(name)
        ))
    }
}

/// The key and its table.
pub(super) fn render(poll: &Poll) -> (&'static str, Json) {
    let Poll { question, url, every, timeout, answers, datapoints, errors, on_error, token, ca } = poll;
    let mut document = json!({ "url": url.to_string() });
    let key = match question {
        Question::Webhook(method) => {
            document["method"] = method.as_str().into();
            "poll"
        }
        Question::Prometheus(Query { text, comparison, bound, missing }) => {
            document["query"] = text.as_str().into();
            document[comparison.as_str()] = (*bound).into();
            document["missing"] = missing.as_str().into();
            "prometheus"
        }
    };
    document["every"] = format_duration(*every).into();
    document["timeout"] = format_duration(*timeout).into();
    document["datapoints"] = format!("{datapoints} of {answers}").into();
    document["errors"] = (*errors).into();
    document["on_error"] = on_error.as_str().into();
    match token {
        Some(Token::File(path)) => document["token_file"] = path.to_string_lossy().into(),
        Some(Token::Environment(name)) => document["token_env"] = name.as_str().into(),
        None => {}
    }
    if let Some(ca) = ca {
        document["ca"] = ca.to_string_lossy().into();
    }
    (key, document)
}
