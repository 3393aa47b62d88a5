//! Tables with a header and aligned columns.

use unicode_width::UnicodeWidthStr;

use crate::term::colour::{Palette, Style};
use crate::term::wrap;

/// The indentation of the further lines of a row.
const INDENT: usize = 2;
/// The gap between two columns.
const GAP: usize = 2;
/// A last column that is wider than this has text, which is wrapped. A time is narrower.
const TEXT: usize = 24;
/// The columns of a terminal that such a text needs at least.
const LEAST_TEXT: usize = 18;

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

/// A column that is shown.
#[derive(Debug, Clone, Copy)]
struct Column {
    number: usize,
    side: Side,
    width: usize,
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

    /// The lines of the table, each with a line feed. A column with no text below its header is omitted. On a terminal
    /// of `width` columns, the columns of the table that have no room go to further, indented lines of each row, and
    /// the text of the last column is wrapped. Nothing is shortened.
    pub(crate) fn render(&self, palette: Palette, width: Option<usize>) -> String {
        let lines = self.lines(width.unwrap_or(usize::MAX));
        let mut text = String::new();
        for row in &self.rows {
            for (number, columns) in lines.iter().enumerate() {
                let indent = if number == 0 { 0 } else { INDENT };
                push_line(&mut text, row, columns, indent, palette);
            }
        }
        text
    }

    /// The columns of each line of a row.
    fn lines(&self, room: usize) -> Vec<Vec<Column>> {
        let widest = |number: usize, from: usize| {
            let texts = self.rows.iter().skip(from).filter_map(|row| row.get(number));
            texts.map(|cell| cell.text.width()).max().unwrap_or(0)
        };
        let shown = self.sides.iter().enumerate().filter(|(number, _)| widest(*number, 1) > 0);
        let columns: Vec<Column> = shown
            .map(|(number, side)| Column { number, side: *side, width: widest(number, 0) })
            .collect();
        let (mut lines, mut line, mut used) = (Vec::new(), Vec::new(), 0_usize);
        for (index, column) in columns.iter().enumerate() {
            let last = index + 1 == columns.len() && column.side == Side::Left;
            let text = last && column.width > TEXT;
            let needed = if text { column.width.min(LEAST_TEXT) } else { column.width };
            if !line.is_empty() && used + GAP + needed > room {
                lines.push(std::mem::take(&mut line));
                used = INDENT;
            } else if !line.is_empty() {
                used += GAP;
            }
            let width = if text {
                column.width.min(room - used.min(room)).max(needed)
            } else {
                column.width
            };
            line.push(Column { width, ..*column });
            used += width;
        }
        lines.push(line);
        lines
    }
}

/// Adds the cells of some columns of a row: a line, and more if a cell is wrapped. Nothing is added for empty cells.
fn push_line(text: &mut String, row: &[Cell], columns: &[Column], indent: usize, palette: Palette) {
    let cells: Vec<(&Cell, Vec<String>, &Column)> = columns
        .iter()
        .filter_map(|column| {
            let cell = row.get(column.number)?;
            let parts = match cell.text.width() > column.width {
                true => wrap::lines(&cell.text, column.width),
                false => vec![cell.text.clone()],
            };
            Some((cell, parts, column))
        })
        .collect();
    if indent > 0 && cells.iter().all(|(cell, ..)| cell.text.is_empty()) {
        return;
    }
    let height = cells.iter().map(|(_, parts, _)| parts.len()).max().unwrap_or(1);
    for part in 0..height {
        let mut line = String::new();
        let mut blank = indent;
        for (cell, parts, Column { side, width, .. }) in &cells {
            let shown = parts.get(part).map_or("", String::as_str);
            let rest = width.saturating_sub(shown.width());
            let (before, after) = if *side == Side::Right { (rest, 0) } else { (0, rest) };
            if shown.is_empty() {
                blank += rest + GAP;
            } else {
                line.push_str(&" ".repeat(blank + before));
                line.push_str(&palette.paint(cell.style, shown));
                blank = after + GAP;
            }
        }
        text.push_str(&line);
        text.push('\n');
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
        assert_eq!(
            table.render(Palette::plain(), None),
            "NAME    NOTE\n日本語  x\ne\u{301}       y\n"
        );
    }

    #[test]
    fn columns_stand_below_one_another_and_lines_end_with_their_text() {
        let head =
            [("NAME", Side::Left), ("SIZE", Side::Right), ("NOTE", Side::Left), ("X", Side::Left)];
        let mut table = Table::new(&head);
        table.row(vec!["ä".into(), "1".into(), "".into(), "".into()]);
        table.row(vec!["".into(), "10,000".into(), Cell::new(Style::Bad, "held"), "".into()]);
        assert_eq!(
            table.render(Palette::plain(), Some(80)),
            "NAME    SIZE  NOTE\nä          1\n      10,000  held\n"
        );
    }

    #[test]
    fn columns_without_room_go_to_further_lines_and_long_texts_are_wrapped() {
        let head = [
            ("SNAPSHOT", Side::Left),
            ("SIZE", Side::Right),
            ("ALONE", Side::Right),
            ("NOTES", Side::Left),
        ];
        let mut table = Table::new(&head);
        let name = "p.09-12-2023_21-07-01";
        table.row(vec![name.into(), "3.0 TiB".into(), "1 B".into(), "".into()]);
        let note = "damaged; held: before the big move";
        table.row(vec![name.into(), "2 B".into(), "2 B".into(), note.into()]);
        let expected = "\
SNAPSHOT                  SIZE
  ALONE  NOTES
p.09-12-2023_21-07-01  3.0 TiB
    1 B
p.09-12-2023_21-07-01      2 B
    2 B  damaged; held: before
         the big move
";
        assert_eq!(table.render(Palette::plain(), Some(32)), expected);
        let wide = table.render(Palette::plain(), None);
        assert!(wide.contains(note) && wide.lines().count() == 3, "{wide}");
    }
}
