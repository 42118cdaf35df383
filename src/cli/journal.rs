//! `snapback journal backup`: a copy of the journal, made while it serves.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{
    CliError,
    args::{Asked, JournalCommand, OutputFormat},
    client::Client,
    output::Output,
};

/// What every SQLite file begins with (<https://sqlite.org/fileformat.html>, section 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Carries out a command about the journal.
pub(super) async fn journal(args: Asked<JournalCommand>, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection);
    let JournalCommand::Backup { file } = args.command;
    let failed = |source| CliError::Copy { path: file.clone(), source };
    if file.exists() {
        return Err(failed(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is there already: name a new file",
        )));
    }
    let body = client.download("/v1/journal/backup").await?;
    let part = with_suffix(&file, ".part");
    let written = write(&client, body, &part).await;
    let kept = match written {
        Ok(length) => keep(&part, &file).map(|()| length).map_err(failed),
        Err(error) => Err(error),
    };
    if kept.is_err() {
        // What is incomplete must not be taken for a backup.
        drop(fs::remove_file(&part));
    }
    let bytes = kept?;
    match output.format() {
        OutputFormat::Json => output.json(&serde_json::json!({ "bytes": bytes, "file": file })),
        OutputFormat::Table => output.text(&format!("{bytes} bytes in {}", file.display())),
    }
}

async fn write(client: &Client, mut body: Incoming, part: &Path) -> Result<u64, CliError> {
    let failed = |source| CliError::Copy { path: part.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(part).map_err(failed)?;
    let (mut length, mut beginning) = (0, Vec::<u8>::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| client.lost(source))?;
        let Some(bytes) = frame.data_ref() else { continue };
        file.write_all(bytes).map_err(failed)?;
        length += bytes.len() as u64;
        let missing = MAGIC.len() - beginning.len();
        beginning.extend(bytes.iter().take(missing));
    }
    file.sync_all().map_err(failed)?;
    if beginning == MAGIC { Ok(length) } else { Err(failed(io::Error::other("what came is no journal"))) }
}

/// Under its name it is whole, or it is not there.
fn keep(part: &Path, file: &Path) -> io::Result<()> {
    fs::rename(part, file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
