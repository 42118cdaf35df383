//! `snapback init`: the first configuration, and the first plan.

mod files;

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CliError,
    args::{InitArgs, OutputFormat},
    output::Output,
};
use crate::config::{self, PlanSpec};

/// Long enough for a server on the same network; whoever waits wants to go on.
const REACH: Duration = Duration::from_millis(500);

/// Writes the files, after asking for what the flags do not say.
pub(super) fn init(mut args: InitArgs, output: &mut Output) -> Result<(), CliError> {
    // A file of this folder is called by its name alone.
    let folder = if args.dir == Path::new(".") { PathBuf::new() } else { args.dir.clone() };
    let (config_path, plan_path) = (folder.join("snapback.toml"), folder.join("plan.toml"));
    // Before the first question: nobody wants to answer for nothing.
    refuse_to_overwrite(&config_path)?;
    if args.blue.is_empty() {
        ask_for_all(&mut args)?;
    }
    let mut files = vec![(config_path, files::config(&args))];
    if !args.green.is_empty() {
        refuse_to_overwrite(&plan_path)?;
        files.push((plan_path, files::plan(&args)));
    }
    check(&files)?;
    fs::create_dir_all(&args.dir).map_err(|source| CliError::Copy { path: args.dir.clone(), source })?;
    for (path, text) in &files {
        write(path, text)?;
    }
    let silent: Vec<&String> =
        args.blue.iter().chain(&args.green).filter(|address| !answers(address)).collect();
    for address in &silent {
        output.note(&format!("note: nobody takes a connection at {address} yet"));
    }
    let paths: Vec<&PathBuf> = files.iter().map(|(path, _)| path).collect();
    match output.format() {
        OutputFormat::Json => output.json(&serde_json::json!({ "written": paths, "not_answering": silent })),
        OutputFormat::Table => output.text(&next_steps(&args, &paths)),
    }
}

/// What to type now, and nothing else.
fn next_steps(args: &InitArgs, paths: &[&PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let mut text = format!("wrote {}\n\nNext:\n", paths.join(" and "));
    let serve = match paths[0].as_str() {
        "snapback.toml" | "./snapback.toml" => "snapback serve".to_owned(),
        path => format!("snapback serve -c {path}"),
    };
    text.push_str(&format!("  {serve:<48}  clients connect to {}\n", args.listen));
    match paths.get(1) {
        Some(plan) => {
            let start = format!("snapback shift start {} {plan} --watch", args.endpoint);
            text.push_str(&format!("  {start:<48}  in another terminal: {} comes in", args.green_version));
        }
        None => {
            text.push_str("  snapback check -c FILE                            what a changed file comes to")
        }
    }
    text
}

/// The texts are sound before there is a file: what was typed is what can be wrong.
fn check(files: &[(PathBuf, String)]) -> Result<(), CliError> {
    for (number, (path, text)) in files.iter().enumerate() {
        let source = path.display().to_string();
        if number == 0 {
            config::parse(text, &source)?;
        } else {
            PlanSpec::from_toml(text, &source)?;
        }
    }
    Ok(())
}

fn refuse_to_overwrite(path: &Path) -> Result<(), CliError> {
    if !path.exists() {
        return Ok(());
    }
    let source = io::Error::new(
        io::ErrorKind::AlreadyExists,
        "it is there already: name another folder with --dir, or move it away",
    );
    Err(CliError::Copy { path: path.to_owned(), source })
}

/// A file that has appeared in the meantime is not touched either.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| CliError::Copy { path: path.to_owned(), source })
}

/// Whether somebody takes a connection there.
fn answers(address: &str) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, REACH).is_ok())
}

/// Asks for what matters; the rest has its default, and stands in the file.
fn ask_for_all(args: &mut InitArgs) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::NothingToWrite);
    }
    let list = |text: String| -> Vec<String> {
        let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
        addresses.map(str::to_owned).collect()
    };
    while args.blue.is_empty() {
        args.blue = list(ask("Where are the model servers in service? HOST:PORT, HOST:PORT, ...", "")?);
    }
    args.listen = ask("Where will clients connect?", &args.listen)?;
    let path =
        ask("Which path do they answer with 2xx while they are well, such as /health? Empty: none", "")?;
    args.health = Some(path).filter(|path| !path.is_empty());
    args.green = list(ask("Where are the servers of the next version? Empty: no plan yet", "")?);
    Ok(())
}

fn ask(question: &str, default: &str) -> Result<String, CliError> {
    let hint = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    let mut stderr = io::stderr();
    write!(stderr, "{question}{hint} ").and_then(|()| stderr.flush()).map_err(CliError::Terminal)?;
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line).map_err(CliError::Terminal)?;
    if length == 0 {
        return Err(CliError::NothingToWrite);
    }
    let answer = line.trim();
    Ok(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Args, ClientCommand, Command, tests::Paper};

    fn run(line: &str) -> Result<String, CliError> {
        let Command::Client(command) = Args::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("not a command to an admin port: {line}")
        };
        let ClientCommand::Init(args) = *command else { panic!("not init: {line}") };
        let paper = Paper::default();
        let mut output = Output::new(OutputFormat::Table, Box::new(paper.clone()), Box::new(io::sink()));
        init(args, &mut output).map(|()| paper.text())
    }

    #[test]
    fn what_is_written_is_sound_and_says_what_to_type_next() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        let line = format!(
            "snapback init --dir {} --blue 127.0.0.1:1,127.0.0.1:2 --green 127.0.0.1:3 --health /health --endpoint llm",
            dir.display()
        );
        let told = run(&line).unwrap();
        assert!(told.contains("snapback serve -c") && told.contains("snapback shift start llm"), "{told}");
        let config = config::load(&dir.join("snapback.toml")).unwrap();
        assert_eq!(config.endpoints[0].blue.instances.len(), 2);
        let plan = fs::read_to_string(dir.join("plan.toml")).unwrap();
        let plan = PlanSpec::from_toml(&plan, "plan.toml").unwrap();
        assert_eq!((plan.green.version.as_str(), plan.alarms.guards.len()), ("v2", 1));
    }

    #[test]
    fn a_file_that_is_there_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapback.toml");
        fs::write(&path, "mine").unwrap();
        let line = format!("snapback init --dir {} --blue 127.0.0.1:1", folder.path().display());
        let error = run(&line).unwrap_err().report();
        assert!(error.contains("it is there already"), "{error}");
        assert_eq!(fs::read_to_string(path).unwrap(), "mine");
    }

    #[test]
    fn an_address_that_is_none_is_told_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("snapback init --dir {} --blue nowhere", folder.path().display());
        let error = run(&line).unwrap_err().report();
        assert!(error.contains("blue.instances[0]"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
