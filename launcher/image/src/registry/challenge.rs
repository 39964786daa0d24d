//! What a registry's `WWW-Authenticate` asks for.

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The best challenge in the values of `WWW-Authenticate`: a token, else a password.
    pub(super) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = None;
        for (scheme, parameters) in values.flat_map(challenges) {
            let get = |name: &str| {
                let of_name = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
                parameters.iter().find(of_name).map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = get("realm") {
                    return Some(Self::Bearer {
                        realm,
                        service: get("service"),
                        scope: get("scope"),
                    });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

/// Splits one header value: `Scheme name=value, name="value", Scheme2 …`.
fn challenges(value: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut all: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = value.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), all.last_mut()) {
            (Some(after), Some((_, parameters))) => {
                let (text, after) = parameter(after.trim_start_matches([' ', '\t']));
                parameters.push((word.to_owned(), text));
                rest = after;
            }
            // A parameter of no scheme: not a challenge at all.
            (Some(_), None) => return all,
            (None, _) => {
                all.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    all
}

/// A quoted or bare value, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in quoted.char_indices() {
        match character {
            '"' if !escaped => return (value, &quoted[index + 1..]),
            '\\' if !escaped => escaped = true,
            _ => {
                value.push(character);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Challenge> {
        Challenge::parse(values.iter().copied())
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: owned(service),
            scope: owned(scope),
        })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        assert_eq!(
            parse(&[
                r#"Bearer realm="https://a/token",service="s",scope="repository:x/y:pull,push""#
            ]),
            bearer("https://a/token", Some("s"), Some("repository:x/y:pull,push"))
        );
        assert_eq!(
            parse(&["bearer realm=https://a/t , service=s"]),
            bearer("https://a/t", Some("s"), None)
        );
        assert_eq!(
            parse(&[r#"Basic realm="a \"quoted\" realm, with=signs""#]),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn a_token_is_preferred_wherever_it_stands() {
        let token = bearer("https://a", None, None);
        assert_eq!(parse(&[r#"Basic realm="x", Bearer realm="https://a""#]), token);
        assert_eq!(parse(&["Basic realm=x", "Bearer realm=https://a"]), token);
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for bad in [
            "",
            ",",
            "realm=x",
            "Negotiate",
            "Bearer",
            "Bearer service=x",
            "=",
            "\"",
            "Bearer realm",
        ] {
            assert_eq!(parse(&[bad]), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(value in "[ -~]{0,60}") {
            let _ = parse(&[&value]);
        }
    }
}
