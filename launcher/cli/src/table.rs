//! Tables with columns as wide as their widest cell.

/// Renders `rows` under `header`, with two spaces between columns and no trailing spaces.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let mut out = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A readable size, in binary units: `131 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A readable span of time, in its largest unit: `3 hours`.
pub(crate) fn age(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let rows = vec![vec!["a".into(), "long cell".into()], vec!["bbbb".into(), "x".into()]];
        assert_eq!(render(&["ID", "NAME"], &rows), "ID    NAME\na     long cell\nbbbb  x\n");
    }

    #[test]
    fn sizes_and_ages_use_their_largest_unit() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(137_363_456), "131 MiB");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(age(1), "1 second");
        assert_eq!(age(7199), "1 hour");
        assert_eq!(age(200_000), "2 days");
    }
}
