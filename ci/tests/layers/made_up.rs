//! Tests the checker on small trees.

use crate::source::Files;
use crate::{order, resolve, rings, source};

/// The rings of a crate `made_up` with these files, as sentences.
fn rings_of(files: &[(&str, &str)]) -> Vec<String> {
    let files: Files = files.iter().map(|(name, text)| (name.into(), (*text).into())).collect();
    let modules = source::read(&files).unwrap();
    let rings = rings::rings(&resolve::graph(&modules, "made_up"));
    rings.iter().map(ToString::to_string).collect()
}

#[test]
fn two_files_that_import_each_other_are_a_ring_and_the_message_names_the_lines() {
    let found = rings_of(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "use crate::b::X;\npub struct Y(X);"),
        ("src/b.rs", "pub struct X;\nfn f(_: super::a::Y) {}"),
    ]);
    assert_eq!(
        found,
        ["src/a.rs -> src/b.rs -> src/a.rs, over `use crate::b::X` in line 1 of src/a.rs \
          and `super::a::Y` in line 2 of src/b.rs"]
    );
}

#[test]
fn a_ring_of_three_is_found_and_what_hangs_on_it_is_not_named() {
    let found = rings_of(&[
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        ("src/a.rs", "use crate::b::B; pub struct A;"),
        ("src/b.rs", "use crate::{c::C, d::D}; pub struct B;"),
        ("src/c.rs", "use crate::a::A; pub struct C;"),
        ("src/d.rs", "pub struct D;"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/a.rs -> src/b.rs -> src/c.rs -> src/a.rs,"), "{found:?}");
}

#[test]
fn use_in_one_direction_is_no_ring() {
    let found = rings_of(&[
        ("src/lib.rs", "mod a; mod b; pub use a::A;"),
        ("src/a.rs", "use crate::b; pub struct A; fn f() { b::f(); }"),
        ("src/b.rs", "pub fn f() {}"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_ring_behind_a_facade_is_found() {
    let found = rings_of(&[
        ("src/lib.rs", "mod a; mod b; pub use a::A; pub use b::B as Renamed;"),
        ("src/a.rs", "use crate::Renamed; pub struct A(Renamed);"),
        ("src/b.rs", "pub struct B(Box<crate::A>);"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/a.rs -> src/b.rs -> src/a.rs,"), "{found:?}");
}

#[test]
fn a_facade_of_globs_is_looked_through() {
    let found = rings_of(&[
        ("src/lib.rs", "mod a; mod b; pub use a::*; pub use b::*;"),
        ("src/a.rs", "use crate::B; pub struct A(B);"),
        ("src/b.rs", "use crate::*; pub struct B(Box<A>);"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn children_of_a_facade_that_use_each_other_in_one_direction_are_no_ring() {
    let found = rings_of(&[
        ("src/lib.rs", "mod room; pub use room::A;"),
        ("src/room.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("src/room/a.rs", "use super::B; pub struct A(B);"),
        ("src/room/b.rs", "pub struct B;"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_parent_with_items_that_exports_a_child_which_uses_them_is_a_ring() {
    let files = [
        ("src/lib.rs", "mod room;"),
        ("src/room.rs", "mod a; pub use a::A; pub struct Own;"),
        ("src/room/a.rs", "pub struct A(super::Own);"),
    ];
    let found = rings_of(&files);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/room/a.rs -> src/room.rs -> src/room/a.rs,"), "{found:?}");
    let without_the_export = [files[0], ("src/room.rs", "mod a; pub struct Own;"), files[2]];
    assert_eq!(rings_of(&without_the_export), [""; 0]);
}

#[test]
fn tests_may_use_what_they_want() {
    let found = rings_of(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "use crate::b::X; pub struct Y(X); #[cfg(test)] pub fn g() {}"),
        (
            "src/b.rs",
            "pub struct X;
             #[cfg(test)] mod tests { use crate::a::Y; }
             #[cfg(all(test, unix))] use crate::a::Y;
             #[cfg(test)] fn f() { crate::a::g(); }
             impl X { #[cfg(test)] fn f() { crate::a::g(); } }
             #[cfg(test)] mod more;",
        ),
        ("src/b/more.rs", "use crate::a::Y;"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn paths_in_macros_and_attributes_count() {
    for path in [
        "fn f() { println!(\"{}\", 1 + crate::a::g(2)); }",
        "#[derive(Serialize)] struct S { #[serde(with = \"crate::a\")] f: u8 }",
        "#[derive(Serialize)] struct S { #[serde(serialize_with = \"crate::a::g\")] f: u8 }",
        "macro_rules! m { () => { $crate::a::g(0) } }",
        "#[derive(Error)] #[error(\"{x}\", x = crate::a::g(0))] struct S;",
    ] {
        let b = format!("pub struct X; {path}");
        let found = rings_of(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::X; pub fn g(_: u8) {}"),
            ("src/b.rs", &b),
        ]);
        let names_a_module_only = path.contains("\"crate::a\"");
        assert_eq!(found.len(), usize::from(!names_a_module_only), "{path}: {found:?}");
    }
}

#[test]
fn a_macro_is_used_where_it_is_called() {
    let found = rings_of(&[
        ("src/lib.rs", "#[macro_use] mod a; mod b;"),
        ("src/a.rs", "macro_rules! m { () => {} } fn f() { crate::b::g(); }"),
        ("src/b.rs", "pub fn g() { m!(); }"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn folders_in_a_ring_are_found_where_no_files_are() {
    let found = rings_of(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "mod one; mod two; pub use one::One; pub use two::Two;"),
        ("src/a/one.rs", "pub struct One(crate::b::X);"),
        ("src/a/two.rs", "pub struct Two;"),
        ("src/b/mod.rs", "pub struct X; mod y;"),
        ("src/b/y.rs", "fn f(_: crate::a::Two) {}"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/a -> src/b -> src/a,"), "{found:?}");
}

#[test]
fn a_program_may_use_its_library_but_not_the_other_way_round() {
    let found = rings_of(&[
        ("src/lib.rs", "pub mod a;"),
        ("src/a.rs", "pub fn f() {}"),
        ("src/main.rs", "mod own; fn main() { own::f(); made_up::a::f(); }"),
        ("src/own.rs", "pub fn f() { crate::main(); }"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/main.rs -> src/own.rs -> src/main.rs,"), "{found:?}");
}

#[test]
fn a_file_outside_all_modules_is_an_error() {
    let files = [("src/lib.rs", ""), ("src/lost.rs", "")];
    let files: Files = files.iter().map(|(name, text)| (name.into(), (*text).into())).collect();
    assert_eq!(source::read(&files).unwrap_err(), "src/lost.rs belongs to no module");
}

const TABLE: &str = "Text\n| crate | may use |\n|---|---|\n| `top` | `low`, `base` |\n\
                     | `low` | `base` |\n| `base` | |\n\nMore text.";

fn uses(list: &[(&str, &[&str])]) -> order::Uses {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    list.iter().map(|(name, uses)| ((*name).to_owned(), owned(uses))).collect()
}

#[test]
fn the_table_of_crates_is_read() {
    let table = uses(&[("top", &["low", "base"]), ("low", &["base"]), ("base", &[])]);
    assert_eq!(order::parse_table(TABLE).unwrap(), table);
    assert_eq!(order::faults(&table, &table), [""; 0]);
    order::parse_table("no table").unwrap_err();
}

#[test]
fn dependencies_on_crates_of_the_project_are_read() {
    let manifest = "[dependencies]\nlower.workspace = true\nserde = \"1\"\n\
                    [dev-dependencies]\nbase = {}";
    let project = [("lower", "low"), ("base", "base"), ("top", "top")];
    let project = project.map(|(package, name)| (package.to_owned(), name.to_owned())).into();
    assert_eq!(order::dependencies(&manifest.parse().unwrap(), &project), ["low", "base"]);
}

#[test]
fn a_dependency_against_the_order_is_named() {
    let table = order::parse_table(TABLE).unwrap();
    let real = uses(&[("top", &["low", "base"]), ("low", &["base", "top"]), ("base", &[])]);
    assert_eq!(
        order::faults(&table, &real),
        ["low -> top: the table of docs/design.md does not allow it"]
    );
}

#[test]
fn a_table_that_is_no_order_or_not_the_truth_is_at_fault() {
    let table = uses(&[("low", &["top"]), ("top", &["low"]), ("gone", &[])]);
    let real = uses(&[("low", &[]), ("top", &["low"]), ("new", &[])]);
    assert_eq!(
        order::faults(&table, &real),
        [
            "low -> top: allowed by docs/design.md, but not used",
            "new is not in the table of docs/design.md",
            "top -> low: in docs/design.md, low is not below top",
            "docs/design.md names a crate gone, which does not exist",
        ]
    );
}
