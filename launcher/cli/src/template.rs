//! `--format TEMPLATE`: the part of Go's templates that people use with Docker.
//!
//! Fields (`{{.State.Status}}`), `{{if}}`, `{{range}}`, `{{with}}`, `{{else}}`, `{{end}}`, pipelines,
//! literals, `{{- -}}`, and the functions that Docker adds: `json`, `join`, `upper`, `lower`,
//! `title`, `len`, `index`, `split`, `println`, `eq`, `ne`, `not`, `and`, `or`.

mod parse;

use anyhow::{Result, bail};
use parse::{Command, Node, Operand, Pipeline};
use serde_json::Value;

/// A template, ready to be filled in.
#[derive(Debug)]
pub(crate) struct Template(Vec<Node>);

impl Template {
    /// Takes `text` apart; `\t` and `\n` in it are a tab and a new line, as Docker has it.
    ///
    /// # Errors
    /// It is no template, or wants what is not known here.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        match parse::parse(&text) {
            Ok(nodes) => Ok(Self(nodes)),
            Err(error) => bail!("template {text:?}: {error}"),
        }
    }

    /// Fills it in.
    ///
    /// # Errors
    /// A field that is not there, or a function that does not fit.
    pub(crate) fn render(&self, root: &Value) -> Result<String> {
        let mut out = String::new();
        Scope { root, dot: root }.render(&self.0, &mut out)?;
        Ok(out)
    }
}

/// What `$` and `.` mean.
struct Scope<'a> {
    root: &'a Value,
    dot: &'a Value,
}

impl Scope<'_> {
    fn render(&self, nodes: &[Node], out: &mut String) -> Result<()> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Output(pipeline) => out.push_str(&shown(&self.evaluate(pipeline)?)),
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
                    let over = self.evaluate(over)?;
                    let items: Vec<&Value> = match &over {
                        Value::Array(items) => items.iter().collect(),
                        Value::Object(fields) => fields.values().collect(),
                        Value::Null => vec![],
                        other => bail!("template: cannot range over {other}"),
                    };
                    if items.is_empty() {
                        self.render(otherwise, out)?;
                    }
                    for dot in items {
                        Scope { root: self.root, dot }.render(each, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, Pipeline(commands): &Pipeline) -> Result<Value> {
        let mut value = None;
        for command in commands {
            value = Some(self.call(command, value)?);
        }
        Ok(value.unwrap_or(Value::Null))
    }

    /// `last` is what the command before it in the pipeline gave.
    fn call(&self, Command(operands): &Command, last: Option<Value>) -> Result<Value> {
        let mut values = Vec::new();
        let (name, rest) = match operands.split_first() {
            Some((Operand::Function(name), rest)) => (Some(name), rest),
            _ => (None, operands.as_slice()),
        };
        for operand in rest {
            values.push(match operand {
                Operand::Literal(value) => value.clone(),
                Operand::Field { from_root: true, path } => field(self.root, path)?,
                Operand::Field { from_root: false, path } => field(self.dot, path)?,
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
                    bail!("template: there is no field .{name}; there are {}", known.join(", "));
                }
            },
            // Of what is not there, no part is there either.
            Value::Null => value,
            _ => bail!("template: there is no field .{name} in {value}"),
        };
    }
    Ok(value.clone())
}

fn function(name: &str, arguments: &[Value]) -> Result<Value> {
    let text = |value: &Value| Value::String(shown(value));
    let changed = |change: fn(&str) -> String, value: &Value| Value::String(change(&shown(value)));
    Ok(match (name, arguments) {
        ("json", [value]) => Value::String(serde_json::to_string(value)?),
        ("upper", [value]) => changed(str::to_uppercase, value),
        ("lower", [value]) => changed(str::to_lowercase, value),
        ("title", [value]) => changed(title, value),
        ("len", [Value::String(text)]) => text.len().into(),
        ("len", [Value::Array(items)]) => items.len().into(),
        ("len", [Value::Object(fields)]) => fields.len().into(),
        ("join", [Value::Array(items), separator]) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            Value::String(items.join(&shown(separator)))
        }
        ("split", [Value::String(whole), separator]) => {
            whole.split(&shown(separator)).map(|part| Value::String(part.into())).collect()
        }
        ("index", [value, keys @ ..]) if !keys.is_empty() => {
            keys.iter().fold(value.clone(), |value, key| match key {
                Value::Number(at) => {
                    let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                    at.and_then(|at| value.get(at).cloned()).unwrap_or(Value::Null)
                }
                key => value.get(shown(key)).cloned().unwrap_or(Value::String(String::new())),
            })
        }
        ("println", values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            Value::String(values.join(" ") + "\n")
        }
        ("print", [value]) => text(value),
        ("eq", [first, others @ ..]) if !others.is_empty() => others.contains(first).into(),
        ("ne", [first, second]) => (first != second).into(),
        ("not", [value]) => (!is_true(value)).into(),
        ("and", [values @ .., last]) => {
            values.iter().find(|value| !is_true(value)).unwrap_or(last).clone()
        }
        ("or", [values @ .., last]) => {
            values.iter().find(|value| is_true(value)).unwrap_or(last).clone()
        }
        _ => bail!("template: {name} does not fit {} argument(s) of this kind", arguments.len()),
    })
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// As Go prints it.
fn shown(value: &Value) -> String {
    let all = |items: Vec<String>| items.join(" ");
    match value {
        Value::Null => "<no value>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", all(items.iter().map(shown).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}:{}", shown(value)));
            format!("map[{}]", all(fields.collect()))
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
            ("{{.Nmae}}", "no field .Nmae"),
            ("{{.Name.First}}", ".First"),
            ("{{frobnicate .Name}}", "frobnicate"),
            ("{{.Name", "no end"),
            ("{{if .Name}}", "end"),
            ("{{end}}", "end"),
            ("{{.Name .Name}}", "arguments"),
            ("{{\"open}}", "quote"),
            ("{{if}}{{end}}", "nothing"),
            ("{{len .State.ExitCode}}", "len"),
        ] {
            let error = format!("{:#}", render(template).unwrap_err());
            assert!(error.contains(word) && !error.contains('\n'), "{template}: {error}");
        }
    }
}
