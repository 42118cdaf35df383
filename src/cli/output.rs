//! What commands print: documents as they came, and tables that line up.

use std::io;

use super::{
    CliError,
    args::OutputFormat,
    client::Answer,
    view::text::{left, right, width},
};

/// Where a command prints, and how.
pub(super) struct Output {
    format: OutputFormat,
    out: Box<dyn io::Write>,
    notes: Box<dyn io::Write>,
}

impl Output {
    /// To standard output, with notes to standard error, where they do not end up in a pipe.
    pub(super) fn standard(format: OutputFormat) -> Self {
        Self::new(format, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// To anywhere.
    pub(super) fn new(format: OutputFormat, out: Box<dyn io::Write>, notes: Box<dyn io::Write>) -> Self {
        Self { format, out, notes }
    }

    /// How documents are printed.
    pub(super) fn format(&self) -> OutputFormat {
        self.format
    }

    /// Prints an answer: its document unchanged for programs, or what it says for people.
    pub(super) fn answer(
        &mut self,
        answer: &Answer,
        table: impl FnOnce() -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        match self.format {
            OutputFormat::Json => self.write(answer.text().trim_ascii_end()),
            OutputFormat::Table => self.text(&table()?),
        }
    }

    /// Prints text and a line's end. Control characters are made visible: names and reasons come from other people, and a
    /// terminal would obey them.
    pub(super) fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.write(printable(text).trim_end().as_bytes())
    }

    /// Passes a part of a file on as it is.
    pub(super) fn raw(&mut self, part: &[u8]) -> Result<(), CliError> {
        self.out.write_all(part).and_then(|()| self.out.flush()).map_err(CliError::Output)
    }

    /// Says something about the command itself.
    pub(super) fn note(&mut self, text: &str) {
        // A closed standard error leaves nobody to tell.
        drop(writeln!(self.notes, "{}", printable(text)));
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = self.out.write_all(bytes).and_then(|()| self.out.write_all(b"\n"));
        written.and_then(|()| self.out.flush()).map_err(CliError::Output)
    }
}

fn printable(text: &str) -> String {
    text.replace(|character: char| character.is_control() && character != '\n', "\u{fffd}")
}

/// Rows under headings, each column as wide as its longest cell.
#[derive(Debug)]
pub(super) struct Table {
    headings: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// A column's heading and on which side its cells stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// For texts.
    Left(&'static str),
    /// For figures.
    Right(&'static str),
}

impl Table {
    /// Without rows.
    pub(super) fn new<const COLUMNS: usize>(headings: [Column; COLUMNS]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.resize(self.headings.len(), String::new());
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let titles = self.headings.iter().map(|column| match column {
            Column::Left(title) | Column::Right(title) => (*title).to_owned(),
        });
        let titles: Vec<String> = titles.collect();
        let all = || std::iter::once(&titles).chain(&self.rows);
        let longest = |index: usize| all().map(|row| width(&row[index])).max().unwrap_or(0);
        let widths: Vec<usize> = (0..titles.len()).map(longest).collect();
        for row in all() {
            let cells =
                row.iter().zip(&widths).zip(&self.headings).map(|((cell, width), column)| match column {
                    Column::Left(_) => left(cell, *width),
                    Column::Right(_) => right(cell, *width),
                });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Column::*, *};

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new([Left("NAME"), Right("REQ/S"), Left("SHIFT")]);
        table.row(["chat".to_owned(), "1,802".to_owned(), "chat-7".to_owned()]);
        table.row(["embeddings".to_owned(), "3.0".to_owned()]);
        assert_eq!(
            table.to_string(),
            "NAME        REQ/S  SHIFT\nchat        1,802  chat-7\nembeddings    3.0\n"
        );
    }
}
