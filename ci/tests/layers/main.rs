//! Keeps the order of crates, folders and files: each uses only what is below it.
//!
//! [`resolve`] describes what counts as use.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod made_up;
mod order;
mod resolve;
mod rings;
mod source;

use rings::Ring;
use source::Files;
use std::fs;
use std::path::{Path, PathBuf};

/// A crate under `launcher/` or `ci/`.
struct Crate {
    /// Its path below the project's root.
    folder: PathBuf,
    manifest: toml::Table,
}

impl Crate {
    fn name(&self) -> &str {
        self.manifest["package"]["name"].as_str().unwrap()
    }

    fn rings(&self) -> Vec<Ring> {
        let files = read_sources(&root().join(&self.folder));
        let modules = source::read(&files)
            .unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        rings::rings(&resolve::graph(&modules, &self.name().replace('-', "_")))
    }
}

#[test]
fn no_file_or_folder_reaches_itself() {
    let found: Vec<String> = (crates().iter())
        .flat_map(|crate_| {
            let folder = crate_.folder.display();
            crate_.rings().into_iter().map(move |ring| format!("{folder}: {ring}"))
        })
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn crates_keep_the_order_of_the_design() {
    let crates = crates();
    let table = order::parse_table(&fs::read_to_string(root().join("docs/design.md")).unwrap());
    let folder = |crate_: &Crate| crate_.folder.file_name().unwrap().to_str().unwrap().to_owned();
    let names = crates.iter().map(|crate_| (crate_.name().to_owned(), folder(crate_))).collect();
    let real: order::Uses = crates
        .iter()
        .map(|crate_| (folder(crate_), order::dependencies(&crate_.manifest, &names)))
        .collect();
    let faults = order::faults(&table.unwrap(), &real);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All members of the workspace except `tests`.
fn crates() -> Vec<Crate> {
    let workspace: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let folders = members.iter().map(|member| PathBuf::from(member.as_str().unwrap()));
    let crates: Vec<Crate> = folders
        .filter(|folder| folder.starts_with("launcher") || folder.starts_with("ci"))
        .map(|folder| {
            let manifest = fs::read_to_string(root().join(&folder).join("Cargo.toml")).unwrap();
            Crate { folder, manifest: manifest.parse().unwrap() }
        })
        .collect();
    assert!(crates.len() > 1, "no crates found");
    crates
}

/// The files in a crate's `src`.
fn read_sources(crate_folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![crate_folder.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(crate_folder).unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}
