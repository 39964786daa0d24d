//! The start set: what an app reads of its image's disk when it starts.
//!
//! The guest records it at an image's first start. Dom0 keeps it beside the image and sends it to later
//! guests of the same image, which read these blocks ahead. It is advice: a wrong one makes a start slower
//! and does no other harm. All of it is bounded, because it comes from a guest.

use serde::{Deserialize, Serialize};

/// Bytes of a page, the unit of all ranges.
pub const PAGE_BYTES: u64 = 4096;
/// The most that a start set covers: 24 MiB.
pub const MAX_PAGES: u32 = 6144;
/// The most files, and the most ranges of all of them together.
const MAX_FILES: usize = 1024;
const MAX_RANGES: usize = 4096;
/// The longest path, in bytes.
const MAX_PATH: usize = 512;

/// Pages, as their first one and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range(pub u32, pub u32);

/// What is read at a start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSet {
    /// Of the disk itself: the file system's own blocks, with the small files among them.
    pub disk: Vec<Range>,
    /// Of files: the path below the image's root, without a leading `/`, and the ranges.
    pub files: Vec<(String, Vec<Range>)>,
}

impl StartSet {
    /// Renders to JSON of at most `max_bytes`, leaving out the last ranges if necessary. (An empty set may be
    /// longer.)
    ///
    /// # Panics
    /// Never: strings and numbers always have a JSON form.
    #[must_use]
    #[expect(clippy::expect_used, reason = "strings and numbers always serialize")]
    pub fn render(&self, max_bytes: usize) -> String {
        let mut cut = self.clone().bounded();
        loop {
            let json = serde_json::to_string(&cut).expect("a start set serializes");
            if json.len() <= max_bytes || cut.is_empty() {
                return json;
            }
            // The largest share that has to go, at least one.
            let share = (json.len() - max_bytes) * cut.files.len() / json.len();
            let left = cut.files.len().saturating_sub(share.max(1));
            if cut.files.is_empty() {
                cut.disk.clear();
            }
            cut.files.truncate(left);
        }
    }

    /// Parses what [`StartSet::render`] or an untrusted guest made; leaves out what is beyond the
    /// limits or makes no sense.
    ///
    /// # Errors
    /// Not a start set.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        Ok(serde_json::from_str::<Self>(json)?.bounded())
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty() && self.files.is_empty()
    }

    fn bounded(self) -> Self {
        let (mut pages, mut ranges) = (MAX_PAGES, MAX_RANGES);
        let mut bound = |found: Vec<Range>| {
            let mut kept = Vec::new();
            for Range(first, count) in found {
                let count = count.min(pages);
                if count == 0 || ranges == 0 || first.checked_add(count).is_none() {
                    continue;
                }
                (pages, ranges) = (pages - count, ranges - 1);
                kept.push(Range(first, count));
            }
            kept
        };
        let disk = bound(self.disk);
        let files = self.files.into_iter().take(MAX_FILES).filter(|(path, _)| is_plain(path));
        let files = files.map(|(path, ranges)| (path, bound(ranges)));
        Self { disk, files: files.filter(|(_, ranges)| !ranges.is_empty()).collect() }
    }
}

/// Whether a path names something below the root, and nothing but that.
fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH
        && !path.contains(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> (String, Vec<Range>) {
        (path.to_owned(), vec![Range(0, 1)])
    }

    #[test]
    fn a_start_set_survives_rendering_and_parsing() {
        let set = StartSet { disk: vec![Range(0, 64), Range(100, 3)], files: vec![file("bin/sh")] };
        let json = set.render(1000);
        assert_eq!(json, r#"{"disk":[[0,64],[100,3]],"files":[["bin/sh",[[0,1]]]]}"#);
        assert_eq!(StartSet::parse(&json).unwrap(), set);
    }

    #[test]
    fn a_guest_cannot_name_what_is_not_below_its_root_nor_write_to_the_terminal() {
        let bad = ["/etc/passwd", "../x", "a/../../x", "a//b", ".", "", "a\u{1b}[2Jb", "a\0b"];
        let mut files: Vec<_> = bad.into_iter().map(file).collect();
        files.push(file(&"x".repeat(MAX_PATH + 1)));
        files.push(file("etc/..passwd"));
        let set = StartSet { disk: vec![], files };
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(StartSet::parse(&json).unwrap().files, [file("etc/..passwd")]);
    }

    #[test]
    fn a_guest_cannot_ask_for_more_than_the_most() {
        let disk = vec![Range(u32::MAX, 1), Range(7, 0), Range(9, u32::MAX), Range(0, 5)];
        let set = StartSet { disk, files: vec![file("bin/sh")] }.bounded();
        assert_eq!(set, StartSet { disk: vec![Range(9, MAX_PAGES)], files: vec![] });
        let set = StartSet { disk: vec![Range(0, 1); MAX_RANGES + 9], files: vec![] }.bounded();
        assert_eq!(set.disk.len(), MAX_RANGES);
        let files = (0..MAX_FILES + 9).map(|number| file(&number.to_string())).collect();
        assert_eq!(StartSet { disk: vec![], files }.bounded().files.len(), MAX_FILES);
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end() {
        let files = (0..300).map(|number| file(&format!("usr/lib/{number}"))).collect();
        let set = StartSet { disk: vec![Range(0, 9)], files };
        let json = set.render(2000);
        assert!((1800..=2000).contains(&json.len()), "{} bytes", json.len());
        let cut = StartSet::parse(&json).unwrap();
        assert_eq!(cut.files[..], set.files[..cut.files.len()]);
        assert_eq!(set.render(0), r#"{"disk":[],"files":[]}"#);
    }
}
