//! Reads a crate's modules, and the paths that each of them uses, with `syn`.

use proc_macro2::{Span, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, Token, UseTree};

/// Texts of a crate's source files, by their path below the crate's folder.
pub(crate) type Files = BTreeMap<PathBuf, String>;

/// One path that a module uses.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    /// Its segments, without generic arguments; the last one is [`ALL`] in a glob import.
    pub(crate) path: Vec<String>,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Whether it is in a `use` declaration.
    pub(crate) imported: bool,
}

/// The last segment of a glob import.
pub(crate) const ALL: &str = "*";

/// One module of a crate.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The file with its code.
    pub(crate) file: PathBuf,
    /// The module around it; `None` for the root of a library or program.
    pub(crate) parent: Option<usize>,
    /// The modules declared in it, by name.
    pub(crate) children: BTreeMap<String, usize>,
    /// Names of the items that it defines.
    pub(crate) items: BTreeSet<String>,
    /// Names that it imports, each with its path.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// Paths whose names it imports with a glob.
    pub(crate) globs: Vec<Vec<String>>,
    /// Every path that it uses outside tests.
    pub(crate) references: Vec<Reference>,
    /// The folder with its children's files.
    folder: PathBuf,
    /// Whether it is compiled only for tests.
    is_test: bool,
}

/// All modules of a crate.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Parents come before their children.
    pub(crate) all: Vec<Module>,
    /// The library's root, if the crate has a library.
    pub(crate) library: Option<usize>,
    /// The file in which each macro of the crate is defined.
    pub(crate) macros: BTreeMap<String, PathBuf>,
}

/// Reads all modules of a crate, beginning with `src/lib.rs`, `src/main.rs` and `src/bin/*.rs`.
///
/// # Errors
/// A file cannot be parsed or belongs to no module, or a module has no file. The error is a sentence about it.
pub(crate) fn read(files: &Files) -> Result<Modules, String> {
    let mut modules = Modules::default();
    for file in files.keys().filter(|file| is_root(file)) {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let root = Module { file: file.clone(), folder, ..Module::default() };
        let index = modules.read_file(files, root)?;
        if file == Path::new("src/lib.rs") {
            modules.library = Some(index);
        }
    }
    let read: BTreeSet<&PathBuf> = modules.all.iter().map(|module| &module.file).collect();
    match files.keys().find(|file| !read.contains(file)) {
        Some(file) => Err(format!("{} belongs to no module", file.display())),
        None => Ok(modules),
    }
}

fn is_root(file: &Path) -> bool {
    file == Path::new("src/lib.rs")
        || file == Path::new("src/main.rs")
        || file.parent() == Some(Path::new("src/bin"))
}

impl Modules {
    fn read_file(&mut self, files: &Files, module: Module) -> Result<usize, String> {
        let text = files
            .get(&module.file)
            .ok_or_else(|| format!("there is no {}", module.file.display()))?;
        let parsed =
            syn::parse_file(text).map_err(|error| format!("{}: {error}", module.file.display()))?;
        self.read_items(files, module, &parsed.items)
    }

    fn read_items(
        &mut self,
        files: &Files,
        module: Module,
        items: &[Item],
    ) -> Result<usize, String> {
        let index = self.all.len();
        self.all.push(module);
        for item in items {
            let is_test = self.all[index].is_test || is_for_tests(attributes(item));
            match item {
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    let child = self.read_module(files, index, item, is_test)?;
                    self.all[index].children.insert(name, child);
                }
                _ if is_test => {}
                Item::Use(item) => self.all[index].import(&item.tree, &mut Vec::new()),
                item => {
                    self.all[index].items.extend(name(item));
                    if let Item::Macro(syn::ItemMacro { ident: Some(name), .. }) = item {
                        self.macros.insert(name.to_string(), self.all[index].file.clone());
                    }
                    Paths(&mut self.all[index]).visit_item(item);
                }
            }
        }
        Ok(index)
    }

    fn read_module(
        &mut self,
        files: &Files,
        parent: usize,
        item: &syn::ItemMod,
        is_test: bool,
    ) -> Result<usize, String> {
        let name = item.ident.to_string();
        let Module { file, folder, .. } = &self.all[parent];
        let mut module = Module {
            file: file.clone(),
            parent: Some(parent),
            folder: folder.join(&name),
            is_test,
            ..Module::default()
        };
        match &item.content {
            Some((_, items)) => self.read_items(files, module, items),
            None => {
                let beside = folder.join(format!("{name}.rs"));
                module.file = match named_file(&item.attrs) {
                    Some(name) => file.parent().unwrap_or(Path::new("")).join(name),
                    None if files.contains_key(&beside) => beside,
                    None => module.folder.join("mod.rs"),
                };
                self.read_file(files, module)
            }
        }
    }
}

impl Module {
    fn import(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        let (last, name) = match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(&tree.tree, path);
                path.pop();
                return;
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, path));
                return;
            }
            UseTree::Name(tree) => (tree.ident.clone(), tree.ident.to_string()),
            UseTree::Rename(tree) => (tree.ident.clone(), tree.rename.to_string()),
            UseTree::Glob(tree) => {
                self.globs.push(path.clone());
                self.refer([path.as_slice(), &[ALL.to_owned()]].concat(), tree.star_token.spans[0]);
                return;
            }
        };
        let is_self = last == "self";
        let full = match is_self {
            true => path.clone(),
            false => [path.as_slice(), &[last.to_string()]].concat(),
        };
        let name = if is_self && name == "self" { full.last().cloned() } else { Some(name) };
        self.imports.extend(name.map(|name| (name, full.clone())));
        self.refer(full, last.span());
    }

    fn refer(&mut self, path: Vec<String>, at: Span) {
        self.references.push(Reference { path, line: at.start().line, imported: true });
    }
}

/// Collects the paths in an item, including those in macros' arguments and in serde's attributes.
struct Paths<'a>(&'a mut Module);

impl Paths<'_> {
    fn found(&mut self, path: Vec<String>, at: Span) {
        self.0.references.push(Reference { path, line: at.start().line, imported: false });
    }

    fn scan(&mut self, tokens: TokenStream) {
        let (mut path, mut colons): (Vec<String>, usize) = (Vec::new(), 0);
        let mut at = Span::call_site();
        for token in tokens {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Ident(name) if colons == 2 => {
                    path.push(name.to_string());
                    colons = 0;
                }
                other => {
                    self.found(std::mem::take(&mut path), at);
                    colons = 0;
                    at = other.span();
                    match other {
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        TokenTree::Group(group) => self.scan(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.found(path, at);
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            item if is_for_tests(attributes(item)) => {}
            // An import inside a function counts for the whole module.
            Item::Use(item) => self.0.import(&item.tree, &mut Vec::new()),
            item => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Fn(item) => &item.attrs[..],
            syn::ImplItem::Const(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let at = path.segments.first().map_or_else(Span::call_site, |first| first.ident.span());
        self.found(segments, at);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        if let Some(name) = call.path.get_ident() {
            self.found(vec![format!("{name}!")], name.span());
        }
        self.scan(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        self.scan(list.tokens.clone());
        for token in list.tokens.clone() {
            let TokenTree::Literal(text) = token else { continue };
            let literal = syn::parse_str::<syn::LitStr>(&text.to_string());
            if let Ok(path) = literal.and_then(|literal| literal.parse::<syn::Path>()) {
                let names = path.segments.iter().map(|segment| segment.ident.to_string());
                self.found(names.collect(), text.span());
            }
        }
    }
}

/// The file of a module that has `#[path = "file"]`.
fn named_file(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(syn::MetaNameValue {
            path,
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(file), .. }),
            ..
        }) if path.is_ident("path") => Some(file.value()),
        _ => None,
    })
}

/// Whether an item is compiled only for tests.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args().is_ok_and(|condition| needs_test(&condition))
        }
        _ => false,
    })
}

fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|parts| parts.iter().any(needs_test)),
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
