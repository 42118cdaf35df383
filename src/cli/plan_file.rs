//! Plan files: TOML, or JSON by their name.

use std::{
    io::{self, Read as _},
    path::Path,
};

use super::CliError;
use crate::config::{PlanSpec, Problems, toml_to_json};

/// A plan is a page of text; what is longer is another file.
const LIMIT_BYTES: u64 = 1 << 20;

/// Reads and checks a plan; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<PlanSpec, CliError> {
    let text = text_of(path)?;
    if is_json(path) {
        return PlanSpec::from_json(&json(path, &text)?)
            .map_err(|problems| Problems { source: path.display().to_string(), ..problems }.into());
    }
    Ok(PlanSpec::from_toml(&text, &path.display().to_string())?)
}

/// The same for one start, with external alarms of it that are known to be raised and are ignored until they have been ok once. Checked
/// here first: these problems name the file's lines, which a server that gets JSON cannot.
pub(super) fn read_ignoring(path: &Path, alarms: &[String]) -> Result<PlanSpec, CliError> {
    let mut plan = read(path)?;
    for name in alarms {
        let external = plan.alarms.externals.iter_mut().find(|external| external.name == *name);
        let Some(external) = external else {
            return Err(CliError::NoExternalAlarm { path: path.to_owned(), name: name.clone() });
        };
        external.ignore_raised = true;
    }
    Ok(plan)
}

/// Reads a plan that is not whole, and so is checked where it is made whole; `-` is standard input.
pub(super) fn read_part(path: &Path) -> Result<serde_json::Value, CliError> {
    let text = text_of(path)?;
    if is_json(path) { json(path, &text) } else { Ok(toml_to_json(&text, &path.display().to_string())?) }
}

fn text_of(path: &Path) -> Result<String, CliError> {
    let text = if path == Path::new("-") {
        bounded(io::stdin().lock())
    } else {
        std::fs::File::open(path).and_then(bounded)
    };
    text.map_err(|source| CliError::File { path: path.to_owned(), source })
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn json(path: &Path, text: &str) -> Result<serde_json::Value, CliError> {
    serde_json::from_str(text).map_err(|source| CliError::Json { path: path.to_owned(), source })
}

fn bounded(reader: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    let length = reader.take(LIMIT_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > LIMIT_BYTES {
        return Err(io::Error::other(format!("it is longer than {LIMIT_BYTES} bytes")));
    }
    Ok(text)
}
