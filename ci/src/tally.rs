//! Adds up the results that cargo's test programs print.

/// Tests that passed, failed, or were ignored or skipped.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u32,
    /// Tests that failed.
    pub failed: u32,
    /// Tests that are marked as ignored.
    pub ignored: u32,
    /// The tests that failed.
    pub failures: Vec<Failure>,
    /// Tests that passed because they were skipped.
    pub skipped: Vec<Skip>,
    /// The test whose output follows in the next lines.
    shown: Option<String>,
}

/// A test that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The test's name, as its program prints it.
    pub test: String,
    /// What the test printed, at most [`MAX_LINES`] lines.
    pub said: Vec<String>,
}

/// How many lines of a failed test are kept.
const MAX_LINES: usize = 40;

/// A test that reports that it was skipped. Its program counts it as passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The test's name; empty if its program does not print it.
    pub test: String,
    /// The line that the test printed.
    pub line: String,
}

impl Tally {
    /// Adds one line of output if it is a failure, a skipped test (of a program that runs with `--show-output`) or the
    /// last line of a test program.
    pub fn add_line(&mut self, line: &str) {
        let line = line.trim();
        if line.starts_with("skipped") {
            let test = self.shown.clone().unwrap_or_default();
            self.skipped.push(Skip { test, line: line.to_owned() });
        }
        if let Some(test) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----"))
        {
            self.shown = Some(test.to_owned());
        } else if matches!(line, "successes:" | "failures:") {
            self.shown = None;
        }
        if let Some(shown) = &self.shown {
            // The output of a test may contain the output of a test program that it ran.
            let failure = self.failures.iter_mut().rfind(|failure| failure.test == *shown);
            let said = failure.map(|failure| &mut failure.said);
            if let Some(said) = said.filter(|said| !line.is_empty() && said.len() < MAX_LINES) {
                said.push(line.to_owned());
            }
            return;
        }
        let failed = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
        self.failures
            .extend(failed.map(|test| Failure { test: test.to_owned(), said: Vec::new() }));
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(count) = count.parse::<u32>() else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_programs_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 17 tests\n",
            "test result: ok. 17 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s\n",
            "test 9 passed ... ok\n",
            "test life::of_brian ... FAILED\n",
            "",
            "failures:",
            "",
            "---- life::of_brian stdout ----",
            "panicked at always look",
            "test result: ok. 9 passed; 0 failed",
            "failures:",
            "    life::of_brian",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n",
        ] {
            tally.add_line(line);
        }
        let said = [
            "---- life::of_brian stdout ----",
            "panicked at always look",
            "test result: ok. 9 passed; 0 failed",
        ];
        let failures =
            vec![Failure { test: "life::of_brian".into(), said: said.map(str::to_owned).to_vec() }];
        assert_eq!(
            tally,
            Tally { passed: 19, failed: 3, ignored: 1, failures, ..Tally::default() }
        );
    }

    #[test]
    fn a_skipped_test_is_told_by_what_it_prints() {
        let mut tally = Tally::default();
        for line in [
            "test disks ... ok",
            "---- disks stdout ----",
            "skipped: umoci is not installed",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 34 filtered out",
            "",
            "successes:",
            "    disks",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "skipped all 18 scenarios: only root can mount",
        ] {
            tally.add_line(line);
        }
        let skip = |test: &str, line: &str| Skip { test: test.into(), line: line.into() };
        assert_eq!(
            tally.skipped,
            [
                skip("disks", "skipped: umoci is not installed"),
                skip("", "skipped all 18 scenarios: only root can mount"),
            ]
        );
        assert_eq!(tally.passed, 1);
    }
}
