//! `snapback completions` and `snapback man`: the grammar for shells and for `man`.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::env::Shells;

use super::{
    Args, CliError,
    args::{ManArgs, OutputFormat, Shell},
    names,
    output::Output,
};

/// Prints the script that makes a shell ask the binary what can follow.
pub(super) fn completions(shell: Shell, output: &mut Output) -> Result<(), CliError> {
    let shells = Shells::builtins();
    let shell = shells.completer(shell.as_str()).expect("every shell of the grammar is built in");
    let mut script = Vec::new();
    let written = shell.write_registration(names::VARIABLE, "snapback", "snapback", "snapback", &mut script);
    written.map_err(CliError::Output)?;
    output.raw(&script)
}

/// Writes a page for each command into a folder, or prints the first one.
pub(super) fn manual(args: &ManArgs, output: &mut Output) -> Result<(), CliError> {
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Args::command()).render(&mut page).map_err(CliError::Output)?;
        return output.raw(&page);
    };
    let failed = |source| CliError::Copy { path: folder.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Args::command(), folder).map_err(failed)?;
    let pages = pages(folder).map_err(failed)?;
    match output.format() {
        OutputFormat::Json => output.json(&serde_json::json!({ "pages": pages })),
        OutputFormat::Table => output.text(&format!(
            "{} pages in {}: read them with `man -l {}`",
            pages.len(),
            folder.display(),
            folder.join("snapback.1").display()
        )),
    }
}

/// The pages in a folder that are of this command.
fn pages(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_page = name.starts_with("snapback") && name.ends_with(".1");
        pages.extend(is_page.then_some(name));
    }
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    fn sink(format: OutputFormat) -> Output {
        Output::new(format, Box::new(std::io::sink()), Box::new(std::io::sink()))
    }

    #[test]
    fn there_is_a_page_for_every_command_that_is_offered() {
        let folder = tempfile::tempdir().unwrap();
        let args =
            ManArgs { dir: Some(folder.path().join("man1")), format: Format { output: OutputFormat::Table } };
        manual(&args, &mut sink(OutputFormat::Table)).unwrap();
        let pages = pages(&folder.path().join("man1")).unwrap();
        for page in [
            "snapback.1",
            "snapback-serve.1",
            "snapback-shift.1",
            "snapback-shift-start.1",
            "snapback-events.1",
        ] {
            assert!(pages.iter().any(|there| there == page), "{page} of {pages:?}");
        }
        assert!(!pages.iter().any(|page| page.contains("model-server")));
        let text = fs::read_to_string(folder.path().join("man1/snapback-shift-start.1")).unwrap();
        assert!(text.contains("Exit status") && text.contains("ignore"), "{text}");
    }

    #[test]
    fn every_shell_of_the_grammar_has_a_script_that_asks_the_binary() {
        for shell in Shell::ALL {
            let paper = crate::cli::tests::Paper::default();
            let mut output =
                Output::new(OutputFormat::Table, Box::new(paper.clone()), Box::new(std::io::sink()));
            completions(shell, &mut output).unwrap();
            assert!(paper.text().contains(names::VARIABLE), "{}", shell.as_str());
        }
    }
}
