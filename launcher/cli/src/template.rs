//! `--format TEMPLATE`: the part of Go's templates that users of Docker need.
//!
//! Fields (`{{.State.Status}}`), `{{if}}`, `{{range}}`, `{{with}}`, `{{else}}`, `{{end}}`, pipelines,
//! literals, `{{- -}}`, and the functions that Docker adds: `json`, `join`, `upper`, `lower`,
//! `title`, `len`, `index`, `split`, `println`, `eq`, `ne`, `not`, `and`, `or`.
//!
//! The data come from images and guests too, so they are cleaned when they become text. The template's own tabs,
//! newlines and colours stay.

mod parse;

use crate::output::escape_json;
use anyhow::{Result, bail};
use contract::untrusted::printable;
use parse::{Command, Node, Operand, Pipeline};
use serde_json::Value;
use std::borrow::Cow;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template(Vec<Node>);

impl Template {
    /// Parses `text`; as in Docker, `\t` and `\n` in it mean a tab and a new line.
    ///
    /// # Errors
    /// The template is not valid, or uses something that is not supported.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        match parse::parse(&text) {
            Ok(nodes) => Ok(Self(nodes)),
            Err(error) => bail!("template {text:?}: {error}"),
        }
    }

    /// Fills in the template.
    ///
    /// # Errors
    /// A field is missing, or a function has the wrong arguments.
    pub(crate) fn render(&self, root: &Value) -> Result<String> {
        let mut out = String::new();
        let dot = Item::Data(root.clone());
        Scope { root, dot: &dot }.render(&self.0, &mut out)?;
        Ok(out)
    }
}

/// A value that is being inserted.
#[derive(Clone, Debug)]
enum Item {
    /// Data to show, whose texts guests, images and registries may have chosen.
    Data(Value),
    /// The template's own text, or a function's text that is already clean.
    Text(String),
}

impl Item {
    /// The value for comparisons and look-ups. It must not be printed.
    fn value(&self) -> Cow<'_, Value> {
        match self {
            Self::Data(value) => Cow::Borrowed(value),
            Self::Text(text) => Cow::Owned(Value::String(text.clone())),
        }
    }

    /// The value as Go prints it. Texts of the data are on one line, without characters that control a terminal.
    fn printed(&self) -> String {
        match self {
            Self::Data(value) => printed(value),
            Self::Text(text) => text.clone(),
        }
    }

    /// The value as Go prints it, uncleaned, for use as a key or a separator.
    fn raw(&self) -> String {
        match self {
            Self::Data(Value::String(text)) => text.clone(),
            other => other.printed(),
        }
    }
}

/// The values of `$` and `.`.
struct Scope<'a> {
    root: &'a Value,
    dot: &'a Item,
}

impl Scope<'_> {
    fn render(&self, nodes: &[Node], out: &mut String) -> Result<()> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Output(pipeline) => out.push_str(&self.evaluate(pipeline)?.printed()),
                Node::If { condition, then, otherwise } => {
                    let chosen = if is_true(&self.evaluate(condition)?) { then } else { otherwise };
                    self.render(chosen, out)?;
                }
                Node::With { value, then, otherwise } => {
                    let value = self.evaluate(value)?;
                    if is_true(&value) {
                        Scope { root: self.root, dot: &value }.render(then, out)?;
                    } else {
                        self.render(otherwise, out)?;
                    }
                }
                Node::Range { over, each, otherwise } => {
                    let items: Vec<Value> = match self.evaluate(over)? {
                        Item::Data(Value::Array(items)) => items,
                        Item::Data(Value::Object(fields)) => fields.into_values().collect(),
                        Item::Data(Value::Null) => vec![],
                        other => bail!("template: cannot range over {}", other.value()),
                    };
                    if items.is_empty() {
                        self.render(otherwise, out)?;
                    }
                    for item in items {
                        let dot = Item::Data(item);
                        Scope { root: self.root, dot: &dot }.render(each, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, Pipeline(commands): &Pipeline) -> Result<Item> {
        let mut value = None;
        for command in commands {
            value = Some(self.call(command, value)?);
        }
        Ok(value.unwrap_or(Item::Data(Value::Null)))
    }

    /// Runs a command; `last` is the result of the previous command in the pipeline.
    fn call(&self, Command(operands): &Command, last: Option<Item>) -> Result<Item> {
        let mut values = Vec::new();
        let (name, rest) = match operands.split_first() {
            Some((Operand::Function(name), rest)) => (Some(name), rest),
            _ => (None, operands.as_slice()),
        };
        for operand in rest {
            values.push(match operand {
                Operand::Literal(Value::String(text)) => Item::Text(text.clone()),
                Operand::Literal(value) => Item::Data(value.clone()),
                Operand::Field { from_root: true, path } => Item::Data(field(self.root, path)?),
                Operand::Field { from_root: false, path } if path.is_empty() => self.dot.clone(),
                Operand::Field { from_root: false, path } => {
                    Item::Data(field(&self.dot.value(), path)?)
                }
                Operand::Nested(pipeline) => self.evaluate(pipeline)?,
                Operand::Function(name) => bail!("template: {name:?} is in the wrong place"),
            });
        }
        match name {
            Some(name) => {
                values.extend(last);
                function(name, &values)
            }
            None => match (values.as_slice(), last) {
                ([value], None) => Ok(value.clone()),
                _ => bail!("template: only functions take arguments"),
            },
        }
    }
}

fn field(value: &Value, path: &[String]) -> Result<Value> {
    let mut value = value;
    for name in path {
        value = match value {
            Value::Object(fields) => match fields.get(name) {
                Some(value) => value,
                None => {
                    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                    bail!("template: field .{name} does not exist; there are {}", known.join(", "));
                }
            },
            // A missing value has no fields.
            Value::Null => value,
            _ => bail!("template: field .{name} does not exist in {value}"),
        };
    }
    Ok(value.clone())
}

fn function(name: &str, arguments: &[Item]) -> Result<Item> {
    use Item::{Data, Text};
    let count = |count: usize| Data(count.into());
    Ok(match (name, arguments) {
        ("json", [value]) => Text(escape_json(&serde_json::to_string(&*value.value())?)),
        ("upper", [value]) => Text(value.printed().to_uppercase()),
        ("lower", [value]) => Text(value.printed().to_lowercase()),
        ("title", [value]) => Text(title(&value.printed())),
        ("len", [Text(text) | Data(Value::String(text))]) => count(text.len()),
        ("len", [Data(Value::Array(items))]) => count(items.len()),
        ("len", [Data(Value::Object(fields))]) => count(fields.len()),
        ("join", [Data(Value::Array(items)), separator]) => {
            let items: Vec<String> = items.iter().map(printed).collect();
            Text(items.join(&separator.raw()))
        }
        ("split", [Text(whole) | Data(Value::String(whole)), separator]) => {
            Data(whole.split(&separator.raw()).map(|part| Value::String(part.into())).collect())
        }
        ("index", [Data(value), keys @ ..]) if !keys.is_empty() => {
            Data(keys.iter().fold(value.clone(), |value, key| match key {
                Data(Value::Number(at)) => {
                    let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                    at.and_then(|at| value.get(at).cloned()).unwrap_or(Value::Null)
                }
                key => value.get(key.raw()).cloned().unwrap_or(Value::String(String::new())),
            }))
        }
        ("println", values) => {
            let values: Vec<String> = values.iter().map(Item::printed).collect();
            Text(values.join(" ") + "\n")
        }
        ("print", [value]) => Text(value.printed()),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Data(others.iter().any(|other| other.value() == first.value()).into())
        }
        ("ne", [first, second]) => Data((first.value() != second.value()).into()),
        ("not", [value]) => Data((!is_true(value)).into()),
        ("and", [values @ .., last]) => {
            values.iter().find(|value| !is_true(value)).unwrap_or(last).clone()
        }
        ("or", [values @ .., last]) => {
            values.iter().find(|value| is_true(value)).unwrap_or(last).clone()
        }
        _ => bail!("template: {name} cannot be called with these {} argument(s)", arguments.len()),
    })
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn is_true(item: &Item) -> bool {
    match &*item.value() {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// The value as Go prints it, cleaned.
fn printed(value: &Value) -> String {
    let all = |items: Vec<String>| items.join(" ");
    match value {
        Value::Null => "<no value>".into(),
        Value::String(text) => printable(text).into_owned(),
        Value::Array(items) => format!("[{}]", all(items.iter().map(printed).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}:{}", printable(name), printed(value))
            };
            format!("map[{}]", all(fields.iter().map(field).collect()))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String> {
        let value = json!({
            "Name": "web",
            "State": { "Running": true, "ExitCode": 0, "Health": null },
            "Args": ["a", "b c"],
            "Labels": { "com.example.x": "1", "b": "2" },
        });
        Template::parse(template)?.render(&value)
    }

    #[test]
    fn fields_and_text_are_filled_in() {
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{{.Name}}", "web"),
            ("{{ .State.Running }}\\t{{.State.ExitCode}}", "true\t0"),
            ("{{.Args}} {{.State.Health}}", "[a b c] <no value>"),
            ("{{json .Args}}", r#"["a","b c"]"#),
            ("{{.Name | upper | json}}", "\"WEB\""),
            (r#"{{index .Labels "com.example.x"}}{{index .Args 1}}"#, "1b c"),
            (r#"{{join .Args ", "}}"#, "a, b c"),
            ("a {{- .Name -}} \n b", "awebb"),
            ("{{len .Args}}{{len .Name}}", "23"),
            (r#"{{"}}"}}{{/* nothing */}}"#, "}}"),
            ("{{(index .Args 0)}}", "a"),
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn data_is_cleaned_and_the_templates_own_text_is_not() {
        let hostile = "a\u{1b}[2J\nb\u{202e}\u{9b}c";
        let data =
            json!({ "Name": hostile, "Args": [hostile, "d"], "Labels": { hostile: hostile } });
        let clean = "a\u{fffd}[2J b\u{fffd}\u{fffd}c";
        for (template, expected) in [
            ("\u{1b}[1m{{.Name}}\u{1b}[0m\\n", format!("\u{1b}[1m{clean}\u{1b}[0m\n")),
            ("{{.Args}}", format!("[{clean} d]")),
            ("{{.Labels}}", format!("map[{clean}:{clean}]")),
            (r#"{{join .Args "\n"}}"#, format!("{clean}\nd")),
            ("{{range .Args}}{{println .}}{{end}}", format!("{clean}\nd\n")),
            ("{{range .Labels}}{{.}}{{end}}", clean.to_owned()),
            ("{{with .Name}}{{.}}{{end}}", clean.to_owned()),
            ("{{.Name | upper | lower}}", clean.to_lowercase()),
            ("{{title .Name}}", format!("A{}", &clean[1..])),
            (r#"{{index .Args 0}}{{index (split .Name "[") 0}}"#, format!("{clean}a\u{fffd}")),
            (r#"{{or .Name "x"}}{{print .Name}}"#, format!("{clean}{clean}")),
            ("{{len .Name}}", "13".into()),
            ("{{eq .Name (index .Args 0)}}", "true".into()),
            ("{{json .Name}}", r#""a\u001b[2J\nb\u202e\u009bc""#.into()),
            (
                "{{json .Labels}}",
                r#"{"a\u001b[2J\nb\u202e\u009bc":"a\u001b[2J\nb\u202e\u009bc"}"#.into(),
            ),
        ] {
            let rendered = Template::parse(template).unwrap().render(&data).unwrap();
            assert_eq!(rendered, expected, "{template}");
        }
    }

    #[test]
    fn blocks_choose_and_repeat() {
        for (template, expected) in [
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            ("{{if .State.ExitCode}}bad{{else if .Name}}good{{end}}", "good"),
            ("{{range .Args}}<{{.}}{{$.Name}}>{{end}}", "<aweb><b cweb>"),
            ("{{range .State.Health}}x{{else}}none{{end}}", "none"),
            ("{{with .State}}{{.Running}}{{end}}", "true"),
            (r#"{{if and (eq .Name "web") (not .State.ExitCode)}}both{{end}}"#, "both"),
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_named_in_one_line() {
        for (template, word) in [
            ("{{.Nmae}}", "field .Nmae does not exist"),
            ("{{.Name.First}}", ".First"),
            ("{{frobnicate .Name}}", "frobnicate"),
            ("{{.Name", "no end"),
            ("{{if .Name}}", "end"),
            ("{{end}}", "end"),
            ("{{.Name .Name}}", "arguments"),
            ("{{\"open}}", "quote"),
            ("{{if}}{{end}}", "an action is empty"),
            ("{{len .State.ExitCode}}", "len"),
        ] {
            let error = format!("{:#}", render(template).unwrap_err());
            assert!(error.contains(word) && !error.contains('\n'), "{template}: {error}");
        }
    }
}
