//! A table, and its forms as text, Markdown and HTML.

use super::escape::{html, markdown, presentable};

/// Where a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with a heading. Cells hold text as it is; each form spells it as it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    title: String,
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. The first column stands on the left, the others on the right.
    pub(crate) fn new<S: Into<String>>(title: &str, columns: impl IntoIterator<Item = S>) -> Table {
        let align = |(index, name): (usize, S)| {
            (name.into(), if index == 0 { Align::Left } else { Align::Right })
        };
        let columns = columns.into_iter().enumerate().map(align).collect();
        Table { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Puts every column on the left.
    pub(crate) fn of_words(mut self) -> Table {
        self.columns.iter_mut().for_each(|(_, align)| *align = Align::Left);
        self
    }

    /// Puts the last column on the left.
    pub(crate) fn ending_in_words(mut self) -> Table {
        if let Some((_, align)) = self.columns.last_mut() {
            *align = Align::Left;
        }
        self
    }

    /// Adds a row; cells that are missing are empty.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a terminal: columns in line, two blanks between them.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            text += &format!("{}\n", presentable(&self.title));
        }
        let cells = self.spelled(presentable);
        let widths = self.widths(&cells);
        for row in &cells {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                line += &padded(cell, *width, *align);
                line += "  ";
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// As GitHub shows it, with columns in line for those who read the file.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            text += &format!("### {}\n\n", markdown(&self.title));
        }
        let cells = self.spelled(markdown);
        let widths: Vec<usize> =
            self.widths(&cells).into_iter().map(|width| width.max(3)).collect();
        for (index, row) in cells.iter().enumerate() {
            text += "|";
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                text += &format!(" {} |", padded(cell, *width, *align));
            }
            text += "\n";
            if index == 0 {
                text += "|";
                for (width, (_, align)) in widths.iter().zip(&self.columns) {
                    let line = "-".repeat(width - 1);
                    text += &match align {
                        Align::Left => format!(" {line}- |"),
                        Align::Right => format!(" {line}: |"),
                    };
                }
                text += "\n";
            }
        }
        text
    }

    /// As a `<table>`; the title is its caption.
    pub(crate) fn to_html(&self) -> String {
        let mut text = String::from("<div class=\"scroll\"><table>\n");
        if !self.title.is_empty() {
            text += &format!("<caption>{}</caption>\n", html(&self.title));
        }
        for (index, row) in self.spelled(html).iter().enumerate() {
            text += "<tr>";
            for (place, (cell, (_, align))) in row.iter().zip(&self.columns).enumerate() {
                let tag = if index == 0 || place == 0 { "th" } else { "td" };
                let class = if *align == Align::Right { " class=\"r\"" } else { "" };
                text += &format!("<{tag}{class}>{cell}</{tag}>");
            }
            text += "</tr>\n";
        }
        text + "</table></div>\n"
    }

    /// Heading and rows, spelled for a form.
    fn spelled(&self, spell: impl Fn(&str) -> String) -> Vec<Vec<String>> {
        let heading = self.columns.iter().map(|(name, _)| spell(name)).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| spell(cell)).collect());
        std::iter::once(heading).chain(rows).collect()
    }

    fn widths(&self, cells: &[Vec<String>]) -> Vec<usize> {
        let width = |column: usize| {
            cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect()
    }
}

fn padded(cell: &str, width: usize, align: Align) -> String {
    match align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("speed", ["test", "t/s"]);
        table.row(["a|b", "1.0"]);
        table.row(["<i>\u{1b}[31m", "12.0"]);
        table
    }

    #[test]
    fn text_has_columns_in_line_and_no_controls() {
        assert_eq!(
            table().to_text(),
            "speed\ntest            t/s\na|b             1.0\n<i>\\u{1b}[31m  12.0\n"
        );
    }

    #[test]
    fn markdown_has_no_cell_that_ends_early() {
        let text = table().to_markdown();
        assert!(text.starts_with("### speed\n\n| test"), "{text}");
        assert!(text.contains("| a\\|b"), "{text}");
        assert!(text.contains("&lt;i&gt;"), "{text}");
        assert!(text.lines().nth(3).unwrap().ends_with("--: |"), "{text}");
    }

    #[test]
    fn html_holds_no_tags_of_cells() {
        let text = table().to_html();
        assert!(text.contains("<caption>speed</caption>") && text.contains("<th>a|b</th>"));
        assert!(text.contains("<th>&lt;i&gt;") && !text.contains("<i>"), "{text}");
        assert!(text.contains("<td class=\"r\">12.0</td>"));
    }
}
