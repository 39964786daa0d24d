//! Progress of a pull: bars on a terminal, silence elsewhere.

use crate::output::say;
use image::{Event, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// One bar a layer, and a line for what is not a layer.
pub(crate) struct Bars {
    all: MultiProgress,
    line: ProgressBar,
    layers: Vec<ProgressBar>,
    /// Off if stderr is not a terminal, where a failure must be a single line.
    on: bool,
}

impl Bars {
    /// Bars on stderr.
    pub(crate) fn new() -> Self {
        Self::shown(std::io::stderr().is_terminal())
    }

    /// None, terminal or not.
    pub(crate) fn hidden() -> Self {
        Self::shown(false)
    }

    fn shown(on: bool) -> Self {
        let all = MultiProgress::new();
        let line = if on {
            let line = ProgressBar::new_spinner();
            line.enable_steady_tick(std::time::Duration::from_millis(120));
            all.add(line)
        } else {
            ProgressBar::hidden()
        };
        Self { all, line, layers: Vec::new(), on }
    }

    fn start_layers(&mut self, sizes: &[u64]) {
        const BAR: &str = "{prefix:>9} [{bar:40}] {bytes:>11} of {total_bytes:<11} {bytes_per_sec}";
        let known = ProgressStyle::with_template(BAR).map(|style| style.progress_chars("=> "));
        // They come again where all is read anew, from another place.
        for bar in self.layers.drain(..) {
            bar.finish_and_clear();
        }
        for (index, &size) in sizes.iter().enumerate() {
            let bar = if size == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(size) };
            if let (Ok(style), true) = (&known, size > 0) {
                bar.set_style(style.clone());
            }
            bar.set_prefix(format!("layer {}", index + 1));
            self.layers.push(if self.on { self.all.add(bar) } else { bar });
        }
    }
}

impl Progress for Bars {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Resolving { name } => self.line.set_message(format!("looking up {name}")),
            Event::Waiting { .. } => self.line.set_message("another launch is pulling this image"),
            Event::Layers { bytes } if self.on => self.start_layers(bytes),
            Event::Layer { index, done_bytes } => {
                if let Some(bar) = self.layers.get(*index) {
                    bar.set_position(*done_bytes);
                    if bar.length() == Some(*done_bytes) {
                        bar.finish();
                    }
                }
            }
            // Also without a progress bar: the user has not typed these names.
            Event::Named { name, digest, before } => {
                let before = before.map(|digest| format!(", before {digest}")).unwrap_or_default();
                self.all.suspend(|| say(format_args!("{name} is {digest} now{before}")));
            }
            // Also without a progress bar: the user gives up a protection here.
            Event::Unsandboxed { missing } => {
                let line = format_args!("fetching without a whole sandbox, which lacks {missing}");
                self.all.suspend(|| say(line));
            }
            // Also without a progress bar: the user thinks that there is a login.
            Event::LoginProblem { problem } => {
                self.all.suspend(|| say(format_args!("{problem}; going on without")));
            }
            Event::Retry { reason } if self.on => {
                // A closed stderr does not matter to the pull.
                drop(self.all.println(reason.to_string()));
            }
            Event::Retry { reason } => tracing::warn!("{reason}"),
            Event::Finishing => self.line.set_message("writing the disk"),
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in &self.layers {
            bar.finish_and_clear();
        }
        self.line.finish_and_clear();
    }
}
