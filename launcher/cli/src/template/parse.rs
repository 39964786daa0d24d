//! Parses a template's text.

use serde_json::Value;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Output(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, each: Vec<Node>, otherwise: Vec<Node> },
}

/// A sequence of commands; each gets the result of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Pipeline(pub(super) Vec<Command>);

/// A value, or a function with its arguments.
#[derive(Debug)]
pub(super) struct Command(pub(super) Vec<Operand>);

#[derive(Debug)]
pub(super) enum Operand {
    /// `.A.B`, or the same after `$`.
    Field {
        from_root: bool,
        path: Vec<String>,
    },
    Literal(Value),
    Function(String),
    Nested(Pipeline),
}

const FUNCTIONS: [&str; 15] = [
    "json", "join", "upper", "lower", "title", "len", "index", "split", "println", "print", "eq",
    "ne", "not", "and", "or",
];
/// The deepest nesting of blocks. A template is user input and must not exhaust the stack.
const MAX_DEPTH: usize = 64;

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Pipe,
    Open,
    Close,
}

/// Text, or the content between `{{` and `}}`.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut pieces = cut(text)?.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        None => Ok(nodes),
        Some(_) => Err("{{end}} or {{else}} has no beginning".into()),
    }
}

fn cut(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let mut before = &rest[..start];
        rest = &rest[start + 2..];
        if let Some(trimmed) = rest.strip_prefix("- ") {
            (before, rest) = (before.trim_end(), trimmed);
        }
        pieces.push(Piece::Text(before.to_owned()));
        if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/}}").ok_or("a comment has no end")?;
            rest = &comment[end + 4..];
            continue;
        }
        let (tokens, after) = tokens(rest)?;
        pieces.push(Piece::Action(tokens));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// The tokens up to `}}`, and the text after it.
fn tokens(mut rest: &str) -> Result<(Vec<Token>, &str), String> {
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n']);
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((tokens, after));
        }
        if let Some(after) = rest.strip_prefix("-}}") {
            return Ok((tokens, after.trim_start()));
        }
        let Some(first) = rest.chars().next() else { return Err("an action has no end".into()) };
        match first {
            '|' | '(' | ')' => {
                tokens.push(match first {
                    '|' => Token::Pipe,
                    '(' => Token::Open,
                    _ => Token::Close,
                });
                rest = &rest[1..];
            }
            '"' | '`' => {
                let (text, after) = quoted(rest)?;
                tokens.push(Token::Text(text));
                rest = after;
            }
            _ => {
                let stops = |c: char| c.is_whitespace() || "|()\"`}".contains(c);
                let end = rest.find(stops).unwrap_or(rest.len());
                if end == 0 {
                    return Err(format!("{first:?} is in the wrong place"));
                }
                tokens.push(Token::Word(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else { return Err("a quote is missing".into()) };
    let mut out = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((out, &text[at + c.len_utf8()..])),
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, c)) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("a quote has no end".into())
}

/// The end of a block: `{{end}}`, or `{{else …}}` with the tokens after it.
enum End {
    End,
    Else(Vec<Token>),
}

fn block(
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<(Vec<Node>, Option<End>), String> {
    if depth > MAX_DEPTH {
        return Err("blocks are nested too deeply".into());
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        match tokens.first() {
            Some(Token::Word(word)) if word == "end" => return Ok((nodes, Some(End::End))),
            Some(Token::Word(word)) if word == "else" => {
                return Ok((nodes, Some(End::Else(tokens.into_iter().skip(1).collect()))));
            }
            Some(Token::Word(word)) if matches!(word.as_str(), "if" | "with" | "range") => {
                let word = word.clone();
                let tokens = tokens.into_iter().skip(1).collect();
                nodes.push(control(&word, tokens, pieces, depth)?);
            }
            _ => nodes.push(Node::Output(pipeline(tokens)?)),
        }
    }
    Ok((nodes, None))
}

fn control(
    word: &str,
    tokens: Vec<Token>,
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<Node, String> {
    let subject = pipeline(tokens)?;
    let (then, end) = block(pieces, depth + 1)?;
    let otherwise = match end {
        None => return Err(format!("{{{{{word}}}}} has no {{{{end}}}}")),
        Some(End::End) => vec![],
        Some(End::Else(tokens)) => match tokens.split_first() {
            // `{{else if X}}` shares the `{{end}}` of the whole block.
            Some((Token::Word(word), _)) if matches!(word.as_str(), "if" | "with") => {
                let word = word.clone();
                let tokens = tokens.into_iter().skip(1).collect();
                vec![control(&word, tokens, pieces, depth + 1)?]
            }
            Some(_) => return Err("{{else}} may only be followed by an if".into()),
            None => match block(pieces, depth + 1)? {
                (nodes, Some(End::End)) => nodes,
                _ => return Err(format!("{{{{{word}}}}} has no {{{{end}}}}")),
            },
        },
    };
    Ok(match word {
        "if" => Node::If { condition: subject, then, otherwise },
        "with" => Node::With { value: subject, then, otherwise },
        _ => Node::Range { over: subject, each: then, otherwise },
    })
}

fn pipeline(tokens: Vec<Token>) -> Result<Pipeline, String> {
    let mut tokens = tokens.into_iter();
    let pipeline = commands(&mut tokens, 0)?;
    if tokens.next().is_some() {
        return Err("a closing bracket has no opening one".into());
    }
    Ok(pipeline)
}

/// Parses up to the end or a closing bracket.
fn commands(tokens: &mut std::vec::IntoIter<Token>, depth: usize) -> Result<Pipeline, String> {
    if depth > MAX_DEPTH {
        return Err("brackets are nested too deeply".into());
    }
    let mut all = vec![];
    let mut operands = vec![];
    let mut closed = depth == 0;
    while let Some(token) = tokens.next() {
        match token {
            Token::Pipe => all.push(Command(std::mem::take(&mut operands))),
            Token::Open => operands.push(Operand::Nested(commands(tokens, depth + 1)?)),
            Token::Close if depth > 0 => {
                closed = true;
                break;
            }
            Token::Close => return Err("a closing bracket has no opening one".into()),
            Token::Text(text) => operands.push(Operand::Literal(Value::String(text))),
            Token::Word(word) => operands.push(operand(&word)?),
        }
    }
    all.push(Command(operands));
    match () {
        () if !closed => Err("a bracket is not closed".into()),
        () if all.iter().any(|command| command.0.is_empty()) => Err("an action is empty".into()),
        () => Ok(Pipeline(all)),
    }
}

fn operand(word: &str) -> Result<Operand, String> {
    let path = |text: &str| {
        text.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    if let Some(rest) = word.strip_prefix('.') {
        return Ok(Operand::Field { from_root: false, path: path(rest) });
    }
    if let Some(rest) = word.strip_prefix('$') {
        if rest.is_empty() || rest.starts_with('.') {
            return Ok(Operand::Field { from_root: true, path: path(rest) });
        }
        return Err("variables are not supported".into());
    }
    if let Ok(number) = word.parse::<i64>() {
        return Ok(Operand::Literal(number.into()));
    }
    match word {
        "true" => Ok(Operand::Literal(true.into())),
        "false" => Ok(Operand::Literal(false.into())),
        _ if FUNCTIONS.contains(&word) => Ok(Operand::Function(word.to_owned())),
        _ => Err(format!("function {word:?} is not known; there are {}", FUNCTIONS.join(", "))),
    }
}
