//! `[traces]`: spans for a collector of OpenTelemetry.

use std::time::Duration;

use super::{
    TracesConfig,
    document::{Value, quoted},
    reader::{Table, boolean, parsed, text, whole},
    units::{format_fraction, percent, positive_duration},
};
use crate::{alarm::PollUrl, time::format_duration};

/// A busy proxy's traces at one in a hundred are a few for each second and what is asked of a collector is small.
const DEFAULT_SAMPLE: f64 = 0.01;
/// A hundred times as many as a worker keeps in the time of a batch, at the default sample.
const DEFAULT_QUEUE: usize = 2_048;
const MOST_QUEUE: usize = 1_000_000;
/// As long as OpenTelemetry's own exporters wait.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing without `url`.
pub(super) fn read(table: &Table<'_>) -> Option<TracesConfig> {
    let url = table.optional("url", parsed(PollUrl::parse));
    let sample = table.optional("sample", percent).unwrap_or(DEFAULT_SAMPLE);
    let follow_parent = table.optional("follow_parent", boolean).unwrap_or(true);
    let service = table.optional("service", service).unwrap_or_else(|| "snapback".to_owned());
    let queue = table.optional("queue", whole(1..=MOST_QUEUE)).unwrap_or(DEFAULT_QUEUE);
    let timeout = table.optional("timeout", positive_duration).unwrap_or(DEFAULT_TIMEOUT);
    let ca = table.optional(
        "ca",
        parsed(|text: &str| match text {
            "" => Err("the path is empty"),
            path => Ok(std::path::PathBuf::from(path)),
        }),
    );
    if ca.is_some() && url.as_ref().is_some_and(|url| !url.is_secure()) {
        table.problem("ca", "has no use with an http URL: write https, or leave it out");
    }
    Some(TracesConfig { url: url?, sample, follow_parent, service, queue, timeout, ca })
}

/// What is configured, in a line.
pub(super) fn describe(config: Option<&TracesConfig>) -> String {
    let Some(TracesConfig { url, sample, follow_parent, service, queue, timeout, ca }) = config else {
        return "nothing".to_owned();
    };
    let (sample, timeout) = (format_fraction(*sample), format_duration(*timeout));
    format!(
        "url {url}, sample {sample}, follow_parent {follow_parent}, service {service:?}, queue {queue}, timeout {timeout}, ca {ca:?}"
    )
}

fn service(value: &Value) -> Result<String, String> {
    match text(value)? {
        name if (1..=255).contains(&name.len()) => Ok(name.to_owned()),
        name => Err(format!("{} is not a service's name: use 1 to 255 bytes", quoted(name))),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn there_are_none_unless_somebody_takes_them() {
        let traces = |lines: &str| parse(&format!("[traces]\n{lines}\n"), "c.toml").unwrap().traces;
        assert_eq!(traces("sample = \"1%\""), None);
        let some = traces("url = \"http://127.0.0.1:4318/v1/traces\"").unwrap();
        assert_eq!((some.sample, some.follow_parent, some.service.as_str()), (0.01, true, "snapback"));
    }

    #[test]
    fn a_bad_key_is_told_with_what_would_be_right() {
        for (lines, says) in [
            ("url = \"127.0.0.1:4318\"", "traces.url"),
            ("url = \"http://c/\"\nsample = \"2\"", "traces.sample"),
            ("url = \"http://c/\"\nca = \"ca.pem\"", "traces.ca: has no use with an http URL"),
            ("url = \"http://c/\"\nservice = \"\"", "traces.service: \"\" is not a service's name"),
            ("endpoint = \"http://c/\"", "unknown key"),
        ] {
            let found = parse(&format!("[traces]\n{lines}\n"), "c.toml").unwrap_err().to_string();
            assert!(found.contains(says), "{lines}\n{found}");
        }
    }
}
