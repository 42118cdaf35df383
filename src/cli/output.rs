//! What commands print: documents as they came, and tables that line up.

use std::io::{self, IsTerminal as _};

use super::{
    CliError,
    args::OutputFormat,
    client::Answer,
    paint::{Paint, Tone, toned},
    view::text::{cut, left, right, width},
};

/// Where a command prints, and how.
pub(super) struct Output {
    format: OutputFormat,
    out: Box<dyn io::Write>,
    notes: Box<dyn io::Write>,
    out_paint: Paint,
    notes_paint: Paint,
    /// Whether notes are read as they are written, on a terminal on which a line can be taken back.
    notes_are_live: bool,
    /// Whether a line that is to be taken back stands there.
    has_status: bool,
}

impl Output {
    /// To standard output, with notes to standard error, where they do not end up in a pipe.
    pub(super) fn standard(format: OutputFormat) -> Self {
        let plain = Self::new(format, Box::new(io::stdout()), Box::new(io::stderr()));
        let has_cursor = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            out_paint: Paint::of(&io::stdout()),
            notes_paint: Paint::of(&io::stderr()),
            notes_are_live: io::stderr().is_terminal() && has_cursor,
            ..plain
        }
    }

    /// To anywhere, as to files.
    pub(super) fn new(format: OutputFormat, out: Box<dyn io::Write>, notes: Box<dyn io::Write>) -> Self {
        let (out_paint, notes_paint) = (Paint::Plain, Paint::Plain);
        Self { format, out, notes, out_paint, notes_paint, notes_are_live: false, has_status: false }
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
        let text = self.out_paint.render(&printable(text));
        self.write(text.trim_end().as_bytes())
    }

    /// Prints a document that no admin port sent.
    pub(super) fn json(&mut self, document: &impl serde::Serialize) -> Result<(), CliError> {
        let text = serde_json::to_vec(document).expect("texts and finite numbers are JSON");
        self.write(&text)
    }

    /// Passes a part of a file on as it is.
    pub(super) fn raw(&mut self, part: &[u8]) -> Result<(), CliError> {
        self.out.write_all(part).and_then(|()| self.out.flush()).map_err(CliError::Output)
    }

    /// Says something about the command itself.
    pub(super) fn note(&mut self, text: &str) {
        self.clear_status();
        // A closed standard error leaves nobody to tell.
        drop(writeln!(self.notes, "{}", self.notes_paint.render(&printable(text))));
    }

    /// Whether [`Self::status`] shows anything.
    pub(super) fn is_live(&self) -> bool {
        self.notes_are_live
    }

    /// Shows a line in place of the one before, as far as it fits; only on a terminal.
    pub(super) fn status(&mut self, text: &str) {
        if !self.notes_are_live {
            return;
        }
        // A line in the last column would wrap, and could not be taken back.
        let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let line = self.notes_paint.render(&cut(&printable(text), columns.saturating_sub(1)));
        // ECMA-48: back to the first column, then erase to the end of the line.
        drop(write!(self.notes, "\r\u{1b}[K{line}").and_then(|()| self.notes.flush()));
        self.has_status = true;
    }

    fn clear_status(&mut self) {
        if std::mem::take(&mut self.has_status) {
            drop(write!(self.notes, "\r\u{1b}[K").and_then(|()| self.notes.flush()));
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.clear_status();
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
    /// For states, in their colours.
    State(&'static str),
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
            Column::Left(title) | Column::Right(title) | Column::State(title) => (*title).to_owned(),
        });
        let titles: Vec<String> = titles.collect();
        let all = || std::iter::once(&titles).chain(&self.rows);
        let longest = |index: usize| all().map(|row| width(&row[index])).max().unwrap_or(0);
        let widths: Vec<usize> = (0..titles.len()).map(longest).collect();
        for (number, row) in all().enumerate() {
            let cells =
                row.iter().zip(&widths).zip(&self.headings).map(|((cell, width), column)| match column {
                    Column::Left(_) => left(cell, *width),
                    Column::Right(_) => right(cell, *width),
                    Column::State(_) => padded(Tone::of_state(cell), cell, *width),
                });
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", toned((number == 0).then_some(Tone::Faint), line.trim_end()))?;
        }
        Ok(())
    }
}

/// A coloured cell; what fills the column has no colour.
fn padded(tone: Option<Tone>, cell: &str, columns: usize) -> String {
    toned(tone, cell) + &" ".repeat(columns.saturating_sub(width(cell)))
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
            Paint::Plain.render(&table.to_string()),
            "NAME        REQ/S  SHIFT\nchat        1,802  chat-7\nembeddings    3.0\n"
        );
    }
}
