//! Aligns the tables of Markdown for a terminal.

/// Aligns the columns of every table, as the marks below its head specify.
pub(crate) fn align(markdown: &str) -> String {
    let lines: Vec<&str> = markdown.lines().collect();
    let blocks = lines.chunk_by(|line, next| line.starts_with('|') == next.starts_with('|'));
    let show = |block: &[&str]| match block {
        [head, marks, rows @ ..] if head.starts_with('|') => table(head, marks, rows),
        _ => block.join("\n") + "\n",
    };
    blocks.map(show).collect()
}

fn table(head: &str, marks: &str, rows: &[&str]) -> String {
    let marks = cells(marks);
    let rows: Vec<Vec<String>> =
        [head].iter().chain(rows).map(|row| cells(&row.replace("**", ""))).collect();
    // A row with only one cell is a heading, which may be longer than its column.
    let is_heading = |row: &[String]| row[1..].iter().all(String::is_empty);
    let width = |column: usize| {
        let rows = rows.iter().filter(|row| !is_heading(row));
        rows.filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..marks.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&marks).zip(&widths).map(|((cell, mark), width)| {
            match mark.ends_with(':') {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_headings_are_not_counted() {
        let page =
            "Text\n\n| | n |\n|---|--:|\n| a long heading | |\n| one | **5** |\n| b | 100 |\n";
        let text = "Text\n\n       n\na long heading\none    5\nb    100\n";
        assert_eq!(align(page), text);
    }
}
