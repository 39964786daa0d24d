//! Finds the file to which a path leads.
//!
//! These rules define the use of another file:
//! - A path counts for the file that defines its item. Imports are followed to it, so a facade (a file with
//!   only `mod` and `pub use`) neither hides a ring nor makes one.
//! - A re-export is a use of what it exports. So a parent that has items of its own and re-exports a
//!   child's is in a ring with that child if the child uses an item of the parent.
//! - `mod x;` is not a use, nor is a `use` that names a module only; paths through it are.
//! - Methods are not seen, because a call names no file.

use crate::source::{ALL, Module, Modules, Reference};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Why one file needs another: the first path in it that leads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    /// The path in the source.
    pub(crate) path: String,
    /// Its line, from 1.
    pub(crate) line: usize,
}

/// For each file, the other files of the crate that it uses.
pub(crate) type Graph = BTreeMap<PathBuf, BTreeMap<PathBuf, Reason>>;

/// Makes the graph of a crate whose library is called `library`.
pub(crate) fn graph(modules: &Modules, library: &str) -> Graph {
    let resolver = Resolver { modules, library };
    let mut graph = Graph::new();
    for (index, module) in modules.all.iter().enumerate() {
        let uses = graph.entry(module.file.clone()).or_default();
        for reference in &module.references {
            for file in resolver.files(index, reference) {
                if file != module.file {
                    uses.entry(file).or_insert_with(|| reason(reference));
                }
            }
        }
    }
    graph
}

fn reason(reference: &Reference) -> Reason {
    let path = reference.path.join("::");
    let path = if reference.imported { format!("use {path}") } else { path };
    Reason { path, line: reference.line }
}

/// The destination of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// This module.
    Module(usize),
    /// An item that this module defines.
    Item(usize),
}

/// The names being resolved, each with its module. A name that occurs again leads nowhere.
type Trail = Vec<(usize, String)>;

struct Resolver<'a> {
    modules: &'a Modules,
    library: &'a str,
}

impl Resolver<'_> {
    fn module(&self, index: usize) -> &Module {
        &self.modules.all[index]
    }

    /// The files to which `reference` in module `from` leads: none, one, or for a glob import several.
    fn files(&self, from: usize, reference: &Reference) -> Vec<PathBuf> {
        let path = &reference.path;
        if let Some(name) = path.first().and_then(|name| name.strip_suffix('!')) {
            return self.modules.macros.get(name).cloned().into_iter().collect();
        }
        let place = match path.split_last() {
            Some((last, rest)) if last == ALL => {
                match self.resolve(from, rest, &mut Trail::new()) {
                    Some(Place::Module(module)) => {
                        return self.names_of(module, &mut BTreeSet::new());
                    }
                    place => place,
                }
            }
            _ => self.resolve(from, path, &mut Trail::new()),
        };
        match place {
            Some(Place::Item(module)) => vec![self.module(module).file.clone()],
            Some(Place::Module(_)) | None => Vec::new(),
        }
    }

    /// The files that define the names of a module.
    fn names_of(&self, index: usize, seen: &mut BTreeSet<usize>) -> Vec<PathBuf> {
        let module = self.module(index);
        if !seen.insert(index) {
            return Vec::new();
        }
        let resolve = |path: &[String]| self.resolve(index, path, &mut Trail::new());
        let mut files = Vec::new();
        if !module.items.is_empty() {
            files.push(module.file.clone());
        }
        for path in module.imports.values() {
            if let Some(Place::Item(other)) = resolve(path) {
                files.push(self.module(other).file.clone());
            }
        }
        for glob in &module.globs {
            if let Some(Place::Module(other)) = resolve(glob) {
                files.extend(self.names_of(other, seen));
            }
        }
        files
    }

    fn resolve(&self, from: usize, path: &[String], trail: &mut Trail) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let place = match first.as_str() {
            "crate" => Place::Module(self.root(from)),
            "self" => Place::Module(from),
            "super" => Place::Module(self.module(from).parent?),
            name => match self.lookup(from, name, trail) {
                Some(place) => place,
                None if name == self.library => Place::Module(self.modules.library?),
                None => return None,
            },
        };
        self.walk(place, rest, trail)
    }

    fn walk(&self, place: Place, path: &[String], trail: &mut Trail) -> Option<Place> {
        let (Place::Module(module), Some((first, rest))) = (place, path.split_first()) else {
            return Some(place);
        };
        if first == "super" {
            return self.walk(Place::Module(self.module(module).parent?), rest, trail);
        }
        match self.lookup(module, first, trail) {
            Some(next) => self.walk(next, rest, trail),
            None if trail.iter().any(|met| *met == (module, first.clone())) => None,
            // A macro has generated it.
            None => Some(Place::Item(module)),
        }
    }

    fn lookup(&self, index: usize, name: &str, trail: &mut Trail) -> Option<Place> {
        let module = self.module(index);
        if let Some(&child) = module.children.get(name) {
            return Some(Place::Module(child));
        }
        if module.items.contains(name) {
            return Some(Place::Item(index));
        }
        let looked_for = (index, name.to_owned());
        if trail.contains(&looked_for) {
            return None;
        }
        trail.push(looked_for);
        let found = self.lookup_imported(index, name, trail);
        trail.pop();
        found
    }

    fn lookup_imported(&self, index: usize, name: &str, trail: &mut Trail) -> Option<Place> {
        let module = self.module(index);
        // If a path begins with the name that it gives, as in `use tar;`, it names another crate.
        let path = module.imports.get(name);
        let path = path.filter(|path| path.first().is_some_and(|first| first != name));
        if let Some(place) = path.and_then(|path| self.resolve(index, path, trail)) {
            return Some(place);
        }
        module.globs.iter().find_map(|glob| match self.resolve(index, glob, trail)? {
            Place::Module(other) if other != index => self.lookup(other, name, trail),
            Place::Module(_) | Place::Item(_) => None,
        })
    }

    fn root(&self, mut index: usize) -> usize {
        while let Some(parent) = self.module(index).parent {
            index = parent;
        }
        index
    }
}
