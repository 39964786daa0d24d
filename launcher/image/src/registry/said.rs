//! What a registry, a storage or a proxy says about an error, in one short line.

use serde_json::Value;

/// The longest text taken over.
const MAX_CHARACTERS: usize = 200;

/// The words in the body of an answer: JSON's message, or the text of anything else.
pub(super) fn in_words(body: &[u8]) -> String {
    let words = match serde_json::from_slice::<Value>(body) {
        Ok(json) => in_json(&json).unwrap_or_default().to_owned(),
        Err(_) => in_page(&String::from_utf8_lossy(body)),
    };
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").chars().take(MAX_CHARACTERS).collect()
}

/// The same words as the end of a message.
pub(super) fn after_colon(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// As registries and token services write errors.
fn in_json(json: &Value) -> Option<&str> {
    let text = |value: &'_ Value| value.as_str().is_some_and(|text| !text.is_empty());
    let of = |value: &'_ Value| {
        let keys = ["message", "error_description", "details", "detail", "error", "code"];
        keys.into_iter().find(|key| text(&value[key]))
    };
    let first = &json["errors"][0];
    let value = if of(first).is_some() { first } else { json };
    value[of(value)?].as_str()
}

/// The text of HTML, XML or no markup at all.
fn in_page(page: &str) -> String {
    let start = page.to_ascii_lowercase().find("<body").unwrap_or(0);
    let mut text = String::new();
    let mut inside = false;
    for character in page[start..].chars() {
        match character {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            character if !inside => text.push(character),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_all_that_servers_send() {
        for (body, words) in [
            (r#"{"errors":[{"code":"DENIED","message":"not you"}]}"#, "not you"),
            (r#"{"errors":[{"code":"DENIED","message":""}]}"#, "DENIED"),
            (r#"{"errors":[]}"#, ""),
            (r#"{"error":"invalid_grant","error_description":"too old"}"#, "too old"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"errors":"x","message":"m"}"#, "m"),
            ("[1]", ""),
            ("<html><head><style>a{}</style></head><body><h1>No</h1> robots\n</body>", "No robots"),
            (
                "<Error><Code>AccessDenied</Code><Message>Expired</Message></Error>",
                "AccessDenied Expired",
            ),
            ("plain  text\n", "plain text"),
            ("", ""),
        ] {
            assert_eq!(in_words(body.as_bytes()), words, "{body}");
        }
        assert_eq!(in_words(&[b'x'; 9999]).len(), MAX_CHARACTERS);
    }
}
