//! `launch ps --filter`: selects the apps to list.

use crate::commands::app::describe::state_word;
use anyhow::{Result, bail};
use app::{App, Apps};
use std::str::FromStr;

/// One `--filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    kind: Kind,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Id,
    Name,
    Label,
    Status,
    Exited,
    Ancestor,
    Before,
    Since,
}

const KINDS: [(&str, Kind); 8] = [
    ("id", Kind::Id),
    ("name", Kind::Name),
    ("label", Kind::Label),
    ("status", Kind::Status),
    ("exited", Kind::Exited),
    ("ancestor", Kind::Ancestor),
    ("before", Kind::Before),
    ("since", Kind::Since),
];
const STATES: [&str; 7] =
    ["created", "starting", "running", "paused", "restarting", "exited", "dead"];

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err("write it as KIND=VALUE, e.g. status=exited".into());
        };
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(format!("filter {name:?} does not exist; there are {}", known.join(", ")));
        };
        match kind {
            Kind::Status if !STATES.contains(&value) => {
                Err(format!("status {value:?} does not exist; there are {}", STATES.join(", ")))
            }
            Kind::Exited if value.parse::<u8>().is_err() => {
                Err(format!("{value:?} is not a valid exit code; write 0 to 255"))
            }
            _ => Ok(Self { kind: *kind, value: value.to_owned() }),
        }
    }
}

impl Filter {
    /// Whether the filter also selects apps that do not run.
    pub(super) fn is_of_state(&self) -> bool {
        matches!(self.kind, Kind::Status | Kind::Exited)
    }
}

/// The filters, with the facts that they need.
pub(super) struct Facts<'a> {
    apps: &'a Apps,
    filters: &'a [Filter],
    /// The creation times of the apps that `before` and `since` name.
    before_ms: Option<u64>,
    since_ms: Option<u64>,
}

impl<'a> Facts<'a> {
    /// # Errors
    /// An app that a filter names does not exist.
    pub(super) fn of(apps: &'a Apps, list: &[App], filters: &'a [Filter]) -> Result<Self> {
        let made = |kind: Kind| -> Result<Option<u64>> {
            let Some(filter) = filters.iter().find(|filter| filter.kind == kind) else {
                return Ok(None);
            };
            let id = apps.find(&filter.value)?.record.id;
            match list.iter().find(|app| app.record.id == id) {
                Some(app) => Ok(Some(app.record.created_unix_ms)),
                None => bail!("app {:?} no longer exists", filter.value),
            }
        };
        let (before_ms, since_ms) = (made(Kind::Before)?, made(Kind::Since)?);
        Ok(Self { apps, filters, before_ms, since_ms })
    }

    /// Whether an app matches: at least one filter of each kind, and all filters by label.
    pub(super) fn fit(&self, app: &App) -> bool {
        KINDS.iter().all(|(_, kind)| {
            let mut of_kind = self.filters.iter().filter(|filter| filter.kind == *kind).peekable();
            match kind {
                Kind::Label => of_kind.all(|filter| self.fits(filter, app)),
                _ => of_kind.peek().is_none() || of_kind.any(|filter| self.fits(filter, app)),
            }
        })
    }

    fn fits(&self, Filter { kind, value }: &Filter, app: &App) -> bool {
        let record = &app.record;
        match kind {
            Kind::Id => record.id.starts_with(value),
            Kind::Name => record.name.contains(value.trim_start_matches('/')),
            Kind::Label => match value.split_once('=') {
                Some((key, value)) => record.labels.get(key).is_some_and(|held| *held == *value),
                None => record.labels.contains_key(value.as_str()),
            },
            Kind::Status => state_word(self.apps, app) == value,
            Kind::Exited => {
                let code = app.state.outcome().map(|outcome| outcome.code().to_string());
                state_word(self.apps, app) == "exited" && code.as_ref() == Some(value)
            }
            Kind::Ancestor => {
                let digest = value.strip_prefix("sha256:").unwrap_or(value);
                let held = record.image_digest.trim_start_matches("sha256:");
                record.image == *value
                    || record.image.strip_suffix(":latest") == Some(value)
                    || (digest.len() >= 4 && held.starts_with(digest))
            }
            Kind::Before => self.before_ms.is_some_and(|at| record.created_unix_ms < at),
            Kind::Since => self.since_ms.is_some_and(|at| record.created_unix_ms > at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_told_what_there_is() {
        for (text, word) in [
            ("status", "KIND=VALUE"),
            ("colour=red", "ancestor"),
            ("status=asleep", "restarting"),
            ("exited=256", "exit code"),
        ] {
            let error = text.parse::<Filter>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        "label=a=b".parse::<Filter>().unwrap();
    }
}
