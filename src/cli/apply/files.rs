//! Reads what is declared: files with `[[endpoint]]` tables, and the plans that belong to them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    cli::{CliError, plan_file},
    config::{self, EndpointSpec, PlanSpec, Problem, Problems, fleet_to_json},
    name::EndpointName,
};

/// What all plans of endpoints without one of their own are called.
const COMMON_PLAN: &str = "plan.toml";

/// How a plan of one endpoint ends.
const PLAN_SUFFIX: &str = ".plan.toml";

/// An endpoint as it should be.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Desired {
    /// The file that says so.
    pub(super) source: PathBuf,
    pub(super) spec: EndpointSpec,
    /// The shift that brings its blue in, where a plan belongs to it.
    pub(super) plan: Option<PlanSpec>,
}

/// Reads a folder, or one file with the plans beside it. Endpoints come by name; all of a file's problems are told at once.
pub(super) fn read(path: &Path) -> Result<Vec<Desired>, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let is_folder = fs::metadata(path).map_err(failed)?.is_dir();
    let files = if is_folder { endpoint_files(path).map_err(failed)? } else { vec![path.to_owned()] };
    if files.is_empty() {
        return Err(failed(io::Error::other("there is no .toml file with an [[endpoint]] in it")));
    }
    let mut all: BTreeMap<EndpointName, Desired> = BTreeMap::new();
    for file in files {
        for spec in endpoints(&file)? {
            if let Some(other) = all.get(&spec.name) {
                let message = format!("endpoint {} is in {} too", spec.name, other.source.display());
                return Err(problem(&file, "endpoint", message));
            }
            let plan = plan(&file, &spec)?;
            all.insert(spec.name.clone(), Desired { source: file.clone(), spec, plan });
        }
    }
    Ok(all.into_values().collect())
}

/// The folder's files that are no plans, by name. Those of folders in it are others' business.
fn endpoint_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_plan = name == COMMON_PLAN || name.ends_with(PLAN_SUFFIX);
        // A hidden file is an editor's.
        if name.ends_with(".toml") && !is_plan && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn endpoints(file: &Path) -> Result<Vec<EndpointSpec>, CliError> {
    let config = config::load(file)?;
    let bare = config::parse("", "nothing")?;
    let foreign = config.settings().into_iter().zip(bare.settings()).find(|(given, bare)| given != bare);
    match foreign {
        Some(((key, _), _)) => Err(problem(
            file,
            key,
            "only [[endpoint]] belongs into what is applied; this is for `snapback serve`".to_owned(),
        )),
        None => Ok(config.endpoints),
    }
}

/// The endpoint's plan, its blue as the plan's green.
fn plan(file: &Path, spec: &EndpointSpec) -> Result<Option<PlanSpec>, CliError> {
    let own = file.with_file_name(format!("{}{PLAN_SUFFIX}", spec.name));
    let Some(path) = [own, file.with_file_name(COMMON_PLAN)].into_iter().find(|path| path.is_file()) else {
        return Ok(None);
    };
    let mut document = plan_file::read_part(&path)?;
    if document.get("green").is_some() {
        let message =
            format!("the fleet that comes in is the blue of endpoint {}: leave green out", spec.name);
        return Err(problem(&path, "green", message));
    }
    document["green"] = fleet_to_json(&spec.blue);
    let plan = PlanSpec::from_json(&document)
        .map_err(|problems| Problems { source: path.display().to_string(), ..problems })?;
    Ok(Some(plan))
}

fn problem(file: &Path, key: &str, message: String) -> CliError {
    let problem = Problem { line: None, key: key.to_owned(), message };
    CliError::Problems(Problems { source: file.display().to_string(), problems: vec![problem] })
}
