//! What commands print: documents as they came, and tables that line up.

use std::io::{self, Write as _};

use super::{
    CliError,
    client::Answer,
    view::text::{left, right, width},
};

/// Prints text and a line's end. Control characters are made visible: names and reasons come from other people, and a terminal
/// would obey them.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let is_control = |character: char| character.is_control() && character != '\n';
    write(text.replace(is_control, "\u{fffd}").trim_end().as_bytes())
}

/// Prints an answer's document unchanged.
pub(super) fn print_document(answer: &Answer) -> Result<(), CliError> {
    write(answer.text().trim_ascii_end())
}

/// Says something about the command itself, where it does not end up in a pipe.
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written.map_err(CliError::Output)
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
