//! Tables with aligned columns, for terminals.

/// Rows of cells below a heading; columns of numbers are aligned to the right.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with these column names.
    pub(super) fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row; missing cells are empty.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column| self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        // A column is numeric if all its cells below the heading are numbers.
        let numeric: Vec<bool> = (0..columns)
            .map(|column| self.rows.iter().skip(1).all(|row| cell(row, column).parse::<f64>().is_ok()))
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for column in 0..columns {
                let (text, width) = (cell(row, column), widths[column]);
                if numeric[column] {
                    line.push_str(&format!("{text:>width$}  "));
                } else {
                    line.push_str(&format!("{text:<width$}  "));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lean_left_and_numbers_right() {
        let mut table = Table::new(&["kernel", "ms"]);
        table.row(["linear/matvec", "1.5"]);
        table.row(["rope", "12.25"]);
        assert_eq!(table.to_string(), "kernel            ms\nlinear/matvec    1.5\nrope           12.25\n");
    }
}
