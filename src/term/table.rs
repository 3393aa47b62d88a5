//! Tables with a header and aligned columns.

use unicode_width::UnicodeWidthStr;

use crate::term::colour::{Palette, Style};

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// One cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn new(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Style::Plain, text)
    }
}

/// A table that is being built.
#[derive(Debug)]
pub(crate) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates a table with this header.
    pub(crate) fn new(head: &[(&str, Side)]) -> Self {
        let cells = head.iter().map(|(text, _)| Cell::new(Style::Head, *text)).collect();
        Self { sides: head.iter().map(|(_, side)| *side).collect(), rows: vec![cells] }
    }

    /// Adds a row with as many cells as the header.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines of the table, each with a line feed. A column with no text below its header is omitted.
    pub(crate) fn render(&self, palette: Palette) -> String {
        let width = |column: usize, from: usize| {
            let texts = self.rows.iter().skip(from).filter_map(|row| row.get(column));
            texts.map(|cell| cell.text.width()).max().unwrap_or(0)
        };
        let columns: Vec<(usize, Side, usize)> = self
            .sides
            .iter()
            .enumerate()
            .filter(|(column, _)| width(*column, 1) > 0)
            .map(|(column, side)| (column, *side, width(column, 0)))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut blank = 0;
            for (column, side, width) in &columns {
                let Some(cell) = row.get(*column) else { continue };
                let rest = width - cell.text.width();
                let (before, after) = if *side == Side::Right { (rest, 0) } else { (0, rest) };
                if !cell.text.is_empty() {
                    line.push_str(&" ".repeat(blank + before));
                    line.push_str(&palette.paint(cell.style, &cell.text));
                    blank = after + 2;
                } else {
                    blank += rest + 2;
                }
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_character_takes_two_columns() {
        let mut table = Table::new(&[("NAME", Side::Left), ("NOTE", Side::Left)]);
        table.row(vec!["日本語".into(), "x".into()]);
        table.row(vec!["e\u{301}".into(), "y".into()]);
        assert_eq!(table.render(Palette::plain()), "NAME    NOTE\n日本語  x\ne\u{301}       y\n");
    }

    #[test]
    fn columns_stand_below_one_another_and_lines_end_with_their_text() {
        let head =
            [("NAME", Side::Left), ("SIZE", Side::Right), ("NOTE", Side::Left), ("X", Side::Left)];
        let mut table = Table::new(&head);
        table.row(vec!["ä".into(), "1".into(), "".into(), "".into()]);
        table.row(vec!["".into(), "10,000".into(), Cell::new(Style::Bad, "held"), "".into()]);
        assert_eq!(
            table.render(Palette::plain()),
            "NAME    SIZE  NOTE\nä          1\n      10,000  held\n"
        );
    }
}
