//! Documents name files that exist.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose names begin the path of a file of the project.
const FOLDERS: [&str; 6] =
    ["ci/", "docs/", "guest-kernel-config/", "launcher/", "tests/", "xl-templates/"];

#[test]
fn every_path_in_a_document_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut documents: Vec<PathBuf> =
        fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.push(root.join("README.md"));
    let mut missing = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let paths = paths(&text).into_iter().filter(|path| !root.join(path).exists());
        missing.extend(paths.map(|path| format!("{}: {path}", document.display())));
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn paths_are_told_from_commands_and_patterns() {
    let text = "see `launcher/app/src`, `./ci/try nginx`, `ci/test --xen 4.17` and `tests/*.rs`";
    assert_eq!(paths(text), ["launcher/app/src", "ci/try", "ci/test"]);
}

/// The files that a document names in backquotes: the first word, if it begins with a folder of the project
/// and is not a pattern.
fn paths(text: &str) -> Vec<&str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|quoted| quoted.split_whitespace().next())
        .map(|word| word.trim_start_matches("./"))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        .filter(|word| !word.contains(['*', '<', '{', '…']))
        .collect()
}
