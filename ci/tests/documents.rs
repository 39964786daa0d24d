//! Checks that documents name files that exist, and that the list of all files is complete.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// The first folders of the paths of the project's files.
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

/// The heading in docs/contributing.md before the list of all files.
const LIST: &str = "## Every file\n";

#[test]
fn the_list_of_all_files_says_of_each_what_its_own_first_sentence_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join("docs/contributing.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, list) = text.split_once(LIST).expect("no list of all files");
    let expected = list_of_files(root);
    if std::env::var_os("WRITE_DOCUMENTS").is_some() {
        fs::write(&path, format!("{before}{LIST}{expected}")).unwrap();
    } else {
        let at = list.lines().zip(expected.lines()).position(|(is, should)| is != should);
        let wrong = at.and_then(|line| expected.lines().nth(line));
        assert!(
            list == expected,
            "docs/contributing.md is not up to date from {wrong:?} on; \
             `WRITE_DOCUMENTS=1 cargo test -p lab --test documents` rewrites the list"
        );
    }
}

/// Lists the Rust files by folder, each with the first paragraph of its documentation; leaves tests out.
fn list_of_files(root: &Path) -> String {
    let mut files = Vec::new();
    for folder in ["launcher", "ci"] {
        add_files(&root.join(folder), &mut files);
    }
    files.sort_by_key(|file: &PathBuf| (file.parent().map(Path::to_owned), file.clone()));
    let mut list = String::from(
        "\nThe first paragraph of each file's documentation. A test keeps the list complete; `WRITE_DOCUMENTS=1 cargo test -p lab\n\
         --test documents` rewrites it. Tests are left out: they are in `tests.rs` or `tests/` beside what they test.\n",
    );
    let mut last = None;
    for file in &files {
        let folder = file.parent().unwrap().strip_prefix(root).unwrap();
        if last != Some(folder) {
            list += &format!("\n### {}\n\n", folder.display());
            last = Some(folder);
        }
        let name = file.file_name().unwrap().to_string_lossy();
        list += &format!("- `{name}`: {}\n", about(&fs::read_to_string(file).unwrap()));
    }
    list
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            add_files(&path, files);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}

/// The first paragraph of a file's documentation, on one line.
fn about(source: &str) -> String {
    let lines = source.lines().skip_while(|line| !line.starts_with("//!"));
    let paragraph = lines.map_while(|line| line.strip_prefix("//! "));
    paragraph.collect::<Vec<_>>().join(" ")
}

/// The files that a document names in backquotes: the first word, if it begins with a folder of the project and is not
/// a pattern.
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
