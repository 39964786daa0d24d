//! `--time`: the steps of a start on one clock, from the first argument to the app's exec.

use app::{Moment, Timings};
use std::io::Write;
use std::time::{Duration, Instant};
use tracing::info;

/// The step in dom0 at whose end a new domain begins to boot.
const BOOT: &str = "domain";
/// The step in dom0 in which a pooled domain gets its orders.
const HANDOVER: &str = "devices";

/// The steps of a start, with the time since the command began.
#[derive(Debug)]
pub(crate) struct Times {
    begin: Instant,
    begin_unix_us: u64,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    name: String,
    begin: Duration,
    took: Duration,
}

impl Step {
    fn end(&self) -> Duration {
        self.begin + self.took
    }

    /// `start ms  took ms  name`, in the form that `ci/startup-time` reads.
    fn render(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!("{:>10.1} ms {:>10.1} ms  {}\n", ms(self.begin), ms(self.took), self.name)
    }
}

impl Times {
    /// The times of a command that began at `begin`.
    pub(crate) fn since(begin: Instant) -> Self {
        let ago = u64::try_from(begin.elapsed().as_micros()).unwrap_or(0);
        Self { begin, begin_unix_us: app::now_unix_us().saturating_sub(ago), steps: Vec::new() }
    }

    /// Adds a step that began with the command and ends now.
    pub(crate) fn first(&mut self, name: &str) {
        let took = self.begin.elapsed();
        self.steps.push(Step { name: name.into(), begin: Duration::ZERO, took });
    }

    /// Runs and adds a step.
    pub(crate) fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let _span = tracing::info_span!("step", step = name).entered();
        let begin = self.begin.elapsed();
        let done = work();
        let took = self.begin.elapsed().saturating_sub(begin);
        self.steps.push(Step { name: name.into(), begin, took });
        done
    }

    /// Adds the steps of the domain's start.
    pub(crate) fn add(&mut self, timings: &Timings) {
        self.steps.extend(timings.iter().map(|timing| Step {
            name: timing.step.into(),
            begin: timing.begin.saturating_duration_since(self.begin),
            took: timing.took,
        }));
    }

    /// The steps of dom0, in the order in which they began.
    pub(crate) fn render(&self) -> String {
        let mut steps = self.steps.clone();
        steps.sort_by_key(|step| step.begin);
        let all = Step {
            name: "in all, until the domain runs".into(),
            begin: Duration::ZERO,
            took: steps.iter().map(Step::end).max().unwrap_or_default(),
        };
        format!("     start        took\n{}", rendered(steps.iter().chain([&all])))
    }

    /// The guest's steps, each beginning at the end of the one before.
    pub(crate) fn render_guest(&self, moments: &[Moment]) -> String {
        let steps = self.of_guest(moments);
        for step in &steps {
            info!(step = step.name, begin = ?step.begin, took = ?step.took, "the guest did");
        }
        rendered(&steps)
    }

    /// Leaves out the steps of a pooled domain from before this command.
    fn of_guest(&self, moments: &[Moment]) -> Vec<Step> {
        let find = |name: &str| self.steps.iter().find(|step| step.name == name);
        let booted = find(BOOT).map(Step::end);
        let mut before =
            booted.or_else(|| find(HANDOVER).map(|step| step.begin)).unwrap_or_default();
        let mut steps = Vec::new();
        for moment in moments {
            let since = moment.at_unix_us.checked_sub(self.begin_unix_us);
            let at = Duration::from_micros(since.unwrap_or(0));
            if booted.is_none() && at <= before {
                continue;
            }
            // Before `init` only the kernel ran.
            let name = match &moment.step {
                step if *step == "init" => "guest: kernel".to_owned(),
                step => format!("guest: {step}"),
            };
            let took = at.saturating_sub(before);
            steps.push(Step { name, begin: before, took });
            before += took;
        }
        steps
    }
}

fn rendered<'a>(steps: impl IntoIterator<Item = &'a Step>) -> String {
    steps.into_iter().map(Step::render).collect()
}

/// Writes to stderr in one piece, so that an app's output cannot come in between.
pub(crate) fn print(text: &str) {
    // If stderr is closed, there is no reader to report to.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(steps: &[(&str, u64, u64)]) -> Times {
        let ms = Duration::from_millis;
        let step = |(name, begin, took): &(&str, u64, u64)| Step {
            name: (*name).into(),
            begin: ms(*begin),
            took: ms(*took),
        };
        Times {
            begin: Instant::now(),
            begin_unix_us: 1_000_000,
            steps: steps.iter().map(step).collect(),
        }
    }

    fn moments(all: &[(&str, u64)]) -> Vec<Moment> {
        let moment = |(step, at_unix_us): &(&str, u64)| Moment {
            step: (*step).into(),
            at_unix_us: *at_unix_us,
        };
        all.iter().map(moment).collect()
    }

    #[test]
    fn a_cold_guests_steps_follow_each_other_from_the_domains_start_on() {
        let times = times(&[("domain", 10, 90), ("disks", 100, 50)]);
        let told = times.render_guest(&moments(&[
            ("init", 1_700_000),
            ("orders", 1_705_000),
            ("exec", 1_905_000),
        ]));
        assert_eq!(
            told,
            "     100.0 ms      600.0 ms  guest: kernel\n     700.0 ms        5.0 ms  guest: orders\n     705.0 ms      200.0 ms  guest: exec\n"
        );
    }

    #[test]
    fn what_a_domain_did_while_it_waited_is_not_told() {
        let times = times(&[("devices", 20, 40)]);
        let told = times.render_guest(&moments(&[
            ("init", 5),
            ("orders", 1_050_000),
            ("exec", 1_090_000),
        ]));
        assert_eq!(
            told,
            "      20.0 ms       30.0 ms  guest: orders\n      50.0 ms       40.0 ms  guest: exec\n"
        );
    }

    #[test]
    fn a_guest_that_claims_to_have_been_early_is_not_before_its_domain() {
        let times = times(&[("domain", 10, 90)]);
        let steps = times.of_guest(&moments(&[("init", 0), ("exec", 1_200_000)]));
        assert_eq!(steps[0].took, Duration::ZERO);
        assert_eq!(
            (steps[1].begin, steps[1].end()),
            (Duration::from_millis(100), Duration::from_millis(200))
        );
    }

    #[test]
    fn dom0s_steps_are_in_the_order_they_began_and_the_last_line_is_their_end() {
        let told = times(&[("late", 5, 10), ("early", 0, 5)]).render();
        let lines: Vec<&str> = told.lines().map(str::trim).collect();
        assert_eq!(
            lines[1..],
            [
                "0.0 ms        5.0 ms  early",
                "5.0 ms       10.0 ms  late",
                "0.0 ms       15.0 ms  in all, until the domain runs",
            ]
        );
    }
}
