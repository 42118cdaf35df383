//! `[access_log]`: a line for each request.

use super::{
    AccessLogConfig, AccessTarget, PagedFile,
    document::Value,
    reader::{Table, boolean, text, whole},
    units::percent,
    webhooks,
};
use crate::config::units::{format_fraction, format_size};

/// A worker at twenty thousand requests a second fills an eighth of it between two looks of the writer.
const DEFAULT_QUEUE: usize = 8_192;
/// Half a gigabyte for each worker with requests of a usual size.
const MOST_QUEUE: usize = 1_000_000;

/// What `to` has in the place of a path.
const STDOUT: &str = "stdout";

enum To {
    Stdout,
    Path(std::path::PathBuf),
}

/// Nothing without `to`.
pub(super) fn read(table: &Table<'_>) -> Option<AccessLogConfig> {
    let to = table.optional("to", to);
    let (page_bytes, pages) = webhooks::read_pages(table);
    let sample = table.optional("sample", percent).unwrap_or(1.0);
    let sample_failures = table.optional("sample_failures", percent).unwrap_or(1.0);
    let with_query = table.optional("query", boolean).unwrap_or(false);
    let queue = table.optional("queue", whole(1..=MOST_QUEUE)).unwrap_or(DEFAULT_QUEUE);
    let to = match to? {
        To::Stdout => AccessTarget::Stdout,
        To::Path(path) => AccessTarget::File(PagedFile { path, page_bytes, pages }),
    };
    Some(AccessLogConfig { to, sample, sample_failures, with_query, queue })
}

/// What is configured, in a line.
pub(super) fn describe(config: Option<&AccessLogConfig>) -> String {
    let Some(AccessLogConfig { to, sample, sample_failures, with_query, queue }) = config else {
        return "nothing".to_owned();
    };
    let to = match to {
        AccessTarget::Stdout => format!("{STDOUT:?}"),
        AccessTarget::File(PagedFile { path, page_bytes, pages }) => {
            format!("{path:?}, page = {:?}, pages = {pages}", format_size(*page_bytes))
        }
    };
    let (sample, failures) = (format_fraction(*sample), format_fraction(*sample_failures));
    format!(
        "{to}, sample = {sample:?}, sample_failures = {failures:?}, query = {with_query}, queue = {queue}"
    )
}

fn to(value: &Value) -> Result<To, String> {
    match text(value)? {
        "" => Err("the path is empty; write for instance \"access.jsonl\", or \"stdout\"".to_owned()),
        STDOUT => Ok(To::Stdout),
        path => Ok(To::Path(path.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn log(lines: &str) -> Option<AccessLogConfig> {
        let text = format!("[access_log]\n{lines}");
        parse(&text, "c.toml").unwrap_or_else(|problems| panic!("{problems}")).access_log
    }

    #[test]
    fn there_is_none_unless_it_says_where_to() {
        assert_eq!(log(""), None);
        assert_eq!(log("sample = \"1%\"\n"), None);
        let all = log("to = \"stdout\"\n").unwrap();
        assert_eq!((all.to, all.sample, all.sample_failures), (AccessTarget::Stdout, 1.0, 1.0));
        let some = log("to = \"a.jsonl\"\nsample = \"0.5%\"\nsample_failures = \"0%\"\npages = 0\n").unwrap();
        assert_eq!((some.sample, some.sample_failures), (0.005, 0.0));
        assert!(matches!(some.to, AccessTarget::File(PagedFile { pages: 0, .. })));
    }

    #[test]
    fn a_bad_key_is_told_with_what_would_be_right() {
        for (lines, says) in [
            ("to = \"\"", "access_log.to: the path is empty"),
            (
                "to = \"a\"\nsample = \"101%\"",
                "access_log.sample: \"101%\" is not a percentage from 0% to 100%",
            ),
            ("to = \"a\"\nsample = 0.5", "access_log.sample"),
            ("to = \"a\"\nqueue = 0", "access_log.queue: expected a whole number from 1"),
            ("file = \"a\"", "unknown key"),
        ] {
            let found = parse(&format!("[access_log]\n{lines}\n"), "c.toml").unwrap_err().to_string();
            assert!(found.contains(says), "{lines}\n{found}");
        }
    }

    #[test]
    fn a_change_takes_a_restart_and_says_so() {
        let (old, new) =
            (parse("", "c.toml").unwrap(), parse("[access_log]\nto = \"stdout\"\n", "c.toml").unwrap());
        assert!(old.restart_needed(&new).join("\n").contains("access_log = \"stdout\", sample = \"100%\""));
    }
}
