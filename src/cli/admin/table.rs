//! Aligned tables, with colour where a person looks.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::words::clean;

/// What a cell holds.
pub struct Cell {
    text: String,
    style: Style,
}

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// Rows beneath a head.
pub struct Table {
    heads: Vec<(String, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: clean(text.as_ref()), style: Style::new() }
    }
}

impl Cell {
    /// As `text`, in a style.
    pub fn styled(text: impl AsRef<str>, style: Style) -> Cell {
        Cell { style, ..Cell::from(text) }
    }
}

/// A number.
pub fn figure(number: u64) -> Cell {
    number.to_string().into()
}

/// All is well.
pub const fn good() -> Style {
    AnsiColor::Green.on_default()
}

/// Not yet.
pub const fn unsure() -> Style {
    AnsiColor::Yellow.on_default()
}

/// It is not.
pub const fn bad() -> Style {
    AnsiColor::Red.on_default()
}

impl Table {
    /// An empty one. Columns with `>` before their name hold figures.
    pub fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Table {
        let heads = heads.into_iter().map(|head| match head.strip_prefix('>') {
            Some(head) => (head.to_owned(), Side::Right),
            None => (head.to_owned(), Side::Left),
        });
        Table { heads: heads.collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text.
    pub fn text(&self) -> String {
        let wide = |text: &str| text.chars().count();
        let width = |(at, (head, _)): (usize, &(String, Side))| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| wide(&cell.text));
            cells.max().unwrap_or(0).max(wide(head))
        };
        let widths: Vec<_> = self.heads.iter().enumerate().map(width).collect();
        let heads = self.heads.iter();
        let heads = heads.map(|(head, _)| Cell::styled(head, Style::new().bold())).collect();
        let mut out = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            self.line(&mut out, row, &widths);
        }
        out
    }

    fn line(&self, out: &mut String, row: &[Cell], widths: &[usize]) {
        // Nothing follows the last cell that says something, not even blanks.
        let last = row.iter().rposition(|cell| !cell.text.is_empty());
        for (at, cell) in row.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            let side = self.heads.get(at).map_or(Side::Left, |(_, side)| *side);
            let width = widths.get(at).copied().unwrap_or(0);
            let room = width.saturating_sub(cell.text.chars().count());
            let (before, after) = match side {
                Side::Right => (room, 0),
                Side::Left if Some(at) == last => (0, 0),
                Side::Left => (0, room),
            };
            let gap = if at == 0 { "" } else { "  " };
            let Cell { text, style } = cell;
            // Writing to a String can't fail.
            let _ = write!(out, "{gap}{:before$}{style}{text}{style:#}{:after$}", "", "");
        }
        out.push('\n');
    }
}

/// The text without its colours.
#[cfg(test)]
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_ends() {
        let mut table = Table::new(["name", ">n", "state", "why"]);
        table.row(["a".into(), figure(5), Cell::styled("ok", good()), "".into()]);
        table.row(["längerer".into(), figure(1234), "waiting".into(), "too\nfew".into()]);
        let text = table.text();
        assert!(text.contains("\x1b[32mok"), "{text:?}");
        assert_eq!(
            plain(&text),
            "name         n  state    why\n\
             a            5  ok\n\
             längerer  1234  waiting  too few\n"
        );
    }

    #[test]
    fn a_row_may_be_short() {
        let mut table = Table::new(["a", "b"]);
        assert!(table.is_empty());
        table.row(["x".into()]);
        assert_eq!(plain(&table.text()), "a  b\nx\n");
    }
}
