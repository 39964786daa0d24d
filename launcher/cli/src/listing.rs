//! `--format` of commands that list objects: a table, JSON, or a template.

use crate::output::{escape_json, print};
use crate::table;
use crate::template::Template;
use anyhow::Result;
use contract::untrusted::printable;
use serde_json::{Map, Value};

/// The form of a list.
#[derive(Debug)]
pub(crate) enum Format {
    /// A table.
    Table,
    /// JSON, one object per line.
    Json,
    /// A filled-in template per line; with `headed`, column names come first.
    Template { template: Template, headed: bool },
}

impl Format {
    /// Parses `table`, `json`, a template, or `table TEMPLATE`; without a text, a table.
    ///
    /// # Errors
    /// The template is not valid.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self> {
        Ok(match text.map(str::trim) {
            None | Some("table" | "") => Self::Table,
            Some("json") => Self::Json,
            Some(text) => match text.strip_prefix("table ") {
                Some(text) => Self::Template { template: Template::parse(text)?, headed: true },
                None => Self::Template { template: Template::parse(text)?, headed: false },
            },
        })
    }
}

/// A listed field: its name in JSON and templates, and the head of its column.
pub(crate) type Field = (&'static str, &'static str);

/// Renders `rows`, which are objects with these fields; `columns` are those of the default table.
pub(crate) fn render(
    format: &Format,
    fields: &[Field],
    columns: &[&str],
    rows: &[Value],
) -> Result<String> {
    let head = |name: &str| fields.iter().find(|(field, _)| *field == name).map_or("", |f| f.1);
    let cell = |row: &Value, name: &str| match row.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => printable(text).into_owned(),
        Some(other) => escape_json(&other.to_string()),
    };
    match format {
        Format::Table => {
            let heads: Vec<&str> = columns.iter().map(|name| head(name)).collect();
            let rows: Vec<Vec<String>> = (rows.iter())
                .map(|row| columns.iter().map(|name| cell(row, name)).collect())
                .collect();
            Ok(table::render(&heads, &rows))
        }
        Format::Json => {
            rows.iter().map(|row| Ok(escape_json(&serde_json::to_string(row)?) + "\n")).collect()
        }
        Format::Template { template, headed: false } => {
            rows.iter().map(|row| Ok(format!("{}\n", template.render(row)?))).collect()
        }
        Format::Template { template, headed: true } => {
            let heads: Map<String, Value> =
                fields.iter().map(|(name, head)| ((*name).to_owned(), (*head).into())).collect();
            let heads = template.render(&Value::Object(heads))?;
            let heads: Vec<&str> = heads.split('\t').collect();
            let rows: Result<Vec<Vec<String>>> = (rows.iter())
                .map(|row| Ok(template.render(row)?.split('\t').map(str::to_owned).collect()))
                .collect();
            Ok(table::render(&heads, &rows?))
        }
    }
}

/// Prints `rows`.
///
/// # Errors
/// A field does not exist, or stdout is closed.
pub(crate) fn show(
    format: &Format,
    fields: &[Field],
    columns: &[&str],
    rows: &[Value],
) -> Result<()> {
    print(&render(format, fields, columns, rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FIELDS: [Field; 2] = [("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn shown(format: &str) -> String {
        let rows = [json!({"ID": "12ab", "Names": "web"}), json!({"ID": "34", "Names": null})];
        render(&Format::parse(Some(format)).unwrap(), &FIELDS, &["Names", "ID"], &rows).unwrap()
    }

    #[test]
    fn a_list_is_shown_in_each_form() {
        assert_eq!(shown("table"), "NAMES  CONTAINER ID\nweb    12ab\n-      34\n");
        assert_eq!(shown("json").lines().next(), Some(r#"{"ID":"12ab","Names":"web"}"#));
        assert_eq!(shown("{{.ID}}"), "12ab\n34\n");
        assert_eq!(
            shown("table {{.ID}}\\t{{.Names}}"),
            "CONTAINER ID  NAMES\n12ab          web\n34            <no value>\n"
        );
    }
}
