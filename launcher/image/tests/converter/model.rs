//! Random layers against a model that is too simple to be wrong.

use crate::build::{Layer, Meta, header};
use crate::reader::{self, Files};
use crate::run::{contents, convert};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use tar::EntryType;

#[derive(Clone, Debug)]
enum Change {
    Directory(String, u16, Option<u8>),
    File(String, u16, usize),
    Symlink(String, usize),
    Fifo(String),
    HardLink(String, String),
    Whiteout(String),
    Opaque(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing {
    /// Equal for names of one file.
    id: usize,
    mode: u16,
    data: Vec<u8>,
    xattr: Option<u8>,
    mtime: i64,
}

/// Path to file; parents of all are in it as well, the root is left out.
#[derive(Clone, Debug, Default)]
struct Model {
    things: BTreeMap<String, Thing>,
    next: usize,
}

impl Model {
    /// Applies a layer: first all that it hides, then all that it brings. Returns what it kept: a
    /// change that makes no sense in its place is left out.
    fn apply(&mut self, changes: &[Change]) -> Vec<Change> {
        for change in changes {
            match change {
                Change::Whiteout(path) => self.remove(path),
                Change::Opaque(path) => self.remove_below(path),
                _ => {}
            }
        }
        changes.iter().filter(|change| self.bring(change)).cloned().collect()
    }

    fn bring(&mut self, change: &Change) -> bool {
        let (path, thing) = match change {
            Change::Whiteout(_) | Change::Opaque(_) => return true,
            Change::Directory(path, mode, xattr) => {
                (path, self.thing(0o040_000 | mode, &[], *xattr))
            }
            Change::File(path, mode, size) => {
                (path, self.thing(0o100_000 | mode, &pattern(*size), None))
            }
            Change::Symlink(path, size) => {
                (path, self.thing(0o120_777, "t".repeat(*size).as_bytes(), None))
            }
            Change::Fifo(path) => (path, self.thing(0o010_644, &[], None)),
            Change::HardLink(path, target) => {
                let Some(thing) = self.things.get(target).cloned() else { return false };
                if thing.mode & 0o170_000 == 0o040_000 || path == target || below(target, path) {
                    return false;
                }
                (path, thing)
            }
        };
        if !self.make_parents(path) {
            return false;
        }
        let directory = |thing: &Thing| thing.mode & 0o170_000 == 0o040_000;
        if !(directory(&thing) && self.things.get(path).is_some_and(directory)) {
            self.remove(path);
        }
        self.things.insert(path.clone(), thing);
        true
    }

    fn make_parents(&mut self, path: &str) -> bool {
        for (at, _) in path.match_indices('/') {
            match self.things.get(&path[..at]) {
                Some(thing) if thing.mode & 0o170_000 != 0o040_000 => return false,
                Some(_) => {}
                None => {
                    let mut parent = self.thing(0o040_755, &[], None);
                    parent.mtime = 0;
                    self.things.insert(path[..at].to_owned(), parent);
                }
            }
        }
        true
    }

    fn thing(&mut self, mode: u16, data: &[u8], xattr: Option<u8>) -> Thing {
        self.next += 1;
        Thing { id: self.next, mode, data: data.to_vec(), xattr, mtime: 1_700_000_000 }
    }

    fn remove(&mut self, path: &str) {
        self.things.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, path: &str) {
        self.things.retain(|other, _| !below(other, path));
    }
}

fn below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8 | 1).collect()
}

fn layer(changes: &[Change]) -> Layer {
    let mut layer = Layer::new();
    for change in changes {
        layer = match change {
            Change::Directory(path, mode, xattr) => {
                let meta = Meta::mode(u32::from(*mode));
                let head = header(path.as_bytes(), EntryType::Directory, b"", meta, 0);
                if let Some(value) = xattr {
                    layer = layer.pax("SCHILY.xattr.user.x", &[*value]);
                }
                layer.raw_entry(&head, b"")
            }
            Change::File(path, mode, size) => {
                let meta = Meta::mode(u32::from(*mode));
                layer.entry(path, EntryType::Regular, "", meta, &pattern(*size))
            }
            Change::Symlink(path, size) => layer.symlink(path, &"t".repeat(*size)),
            Change::Fifo(path) => layer.fifo(path),
            Change::HardLink(path, target) => layer.hard_link(path, target),
            Change::Whiteout(path) => {
                let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
                layer.file(&format!("{parent}/.wh.{name}"), b"")
            }
            Change::Opaque(path) => layer.file(&format!("./{path}/.wh..wh..opq"), b""),
        };
    }
    layer
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "!", "long-name"]), 1..4)
        .prop_map(|parts| parts.join("/"))
}

fn change() -> impl Strategy<Value = Change> {
    let mode = prop::sample::select(vec![0o644, 0o755, 0o1777, 0o4711]);
    let size = prop::sample::select(vec![0, 1, 4095, 4096, 5000, 70_000]);
    prop_oneof![
        4 => (path(), mode.clone(), prop::option::of(any::<u8>()))
            .prop_map(|(path, mode, xattr)| Change::Directory(path, mode, xattr)),
        6 => (path(), mode, size).prop_map(|(path, mode, size)| Change::File(path, mode, size)),
        // Nothing is ever put below these names, so that none is followed.
        1 => (path(), 1..4000_usize)
            .prop_map(|(path, size)| Change::Symlink(format!("{path}-link"), size)),
        1 => path().prop_map(Change::Fifo),
        3 => (path(), path()).prop_map(|(path, target)| Change::HardLink(path, target)),
        3 => path().prop_map(Change::Whiteout),
        1 => path().prop_map(Change::Opaque),
    ]
}

/// Holds the disk against the model.
fn compare(files: &Files, model: &Model) {
    let paths: Vec<String> = files
        .keys()
        .filter(|path| !path.is_empty())
        .map(|path| String::from_utf8(path.clone()).unwrap())
        .collect();
    let expect: Vec<String> = model.things.keys().cloned().collect();
    assert_eq!(paths, expect);
    let mut nids = HashMap::new();
    for (path, thing) in &model.things {
        let found = &files[path.as_bytes()];
        assert_eq!(found.mode, thing.mode, "mode of {path}");
        assert_eq!(found.mtime, (thing.mtime, 0), "time of {path}");
        assert!(found.data == thing.data, "data of {path}");
        assert_eq!(found.xattrs.get("user.x"), thing.xattr.map(|v| vec![v]).as_ref());
        assert_eq!(*nids.entry(thing.id).or_insert(found.nid), found.nid, "links of {path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        max_global_rejects: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_layers_give_the_tree_the_model_has(
        layers in prop::collection::vec(prop::collection::vec(change(), 0..12), 1..5)
    ) {
        let mut model = Model::default();
        let layers: Vec<Layer> =
            layers.iter().map(|changes| layer(&model.apply(changes))).collect();
        // What depends on the order within a layer, such as a file below what is hidden only
        // later, is refused by the converter and unknown to the model.
        let converted = convert(&layers);
        prop_assume!(converted.is_ok());
        compare(&reader::read(&contents(&converted.unwrap())), &model);
    }
}
