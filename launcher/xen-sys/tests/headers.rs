//! Compares every structure and constant of this crate with Xen's own headers, through the C compiler.
//!
//! The headers are those of Debian's `libxen-dev` in `/usr/include`. To compare with other versions of Xen in the same
//! run, list further include folders in `XEN_HEADERS`, separated by `:`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use xen_sys::layout::Layout;

const INCLUDES: &str = "
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>
#include <xen/memory.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/sched.h>
#include <xen/version.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/hvm/save.h>
#include <xen/arch-x86/hvm/start_info.h>
#include <xen/sys/privcmd.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>
#include <xen/sys/gntalloc.h>
#include <xen/io/libxenvchan.h>
";

#[test]
fn every_structure_and_constant_is_as_in_the_installed_headers() {
    let further = std::env::var("XEN_HEADERS").unwrap_or_default();
    let further = further.split(':').filter(|name| !name.is_empty()).map(PathBuf::from);
    let installed = Path::new("/usr/include").to_owned();
    let is_there = installed.join("xen/domctl.h").exists();
    let folders: Vec<PathBuf> = is_there.then_some(installed).into_iter().chain(further).collect();
    assert!(!folders.is_empty(), "there are no Xen headers to compare with; install libxen-dev");
    for folder in &folders {
        compare(folder);
    }
}

/// `layouts!` lists the structures that it describes, and the compiler reports a list missing in `layouts()`. This test
/// finds a structure that is in no list. (E820 entries have no C name in Xen's public headers.)
#[test]
fn every_structure_of_this_crate_is_compared() {
    const WITHOUT_A_HEADER: usize = 1;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        text.lines().filter(|line| line.starts_with("#[repr(C")).count()
    };
    let structures: usize = std::fs::read_dir(sources).unwrap().map(count).sum();
    assert_eq!(xen_sys::layouts().len() + WITHOUT_A_HEADER, structures);
}

/// Compiles and runs a C program that prints all numbers, and compares them with this crate's.
fn compare(folder: &Path) {
    let found = ask_the_compiler(folder);
    let version = u32::try_from(found["XEN_DOMCTL_INTERFACE_VERSION"]).unwrap();
    println!("{}: domctl {version:#x}", folder.display());
    assert!(xen_sys::domctl::VERSIONS.contains(&version), "unknown domctl version {version:#x}");
    let sysctl = u32::try_from(found["XEN_SYSCTL_INTERFACE_VERSION"]).unwrap();
    assert!(xen_sys::sysctl::VERSIONS.contains(&sysctl), "unknown sysctl version {sysctl:#x}");

    let mut wrong = String::new();
    for (name, ours) in expected(version) {
        let theirs = found[&name];
        if ours != theirs {
            let _ = writeln!(wrong, "{name}: {ours} here, {theirs} in C");
        }
    }
    assert!(wrong.is_empty(), "{}:\n{wrong}", folder.display());
}

/// The numbers that the C program must print for headers of this domctl version.
fn expected(version: u32) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    for layout in layouts_of(version) {
        let c_type = layout.c_type;
        numbers.insert(format!("sizeof({c_type})"), layout.size as u64);
        for (field, offset) in layout.fields.iter().filter(|(field, _)| !field.is_empty()) {
            numbers.insert(format!("offsetof({c_type}, {field})"), *offset as u64);
        }
    }
    for constant in xen_sys::constants() {
        numbers.insert(constant.c_name.to_owned(), constant.value);
    }
    numbers
}

fn layouts_of(version: u32) -> Vec<Layout> {
    let has =
        |layout: &Layout| (layout.domctl_versions.0..=layout.domctl_versions.1).contains(&version);
    xen_sys::layouts().into_iter().filter(has).collect()
}

fn ask_the_compiler(folder: &Path) -> BTreeMap<String, u64> {
    // Names that exist in one version only are compared only with the headers that have them.
    let version_line = std::fs::read_to_string(folder.join("xen/domctl.h")).unwrap();
    let version = version_line
        .lines()
        .find_map(|line| line.strip_prefix("#define XEN_DOMCTL_INTERFACE_VERSION 0x"))
        .map(|digits| u32::from_str_radix(digits.trim(), 16).unwrap())
        .expect("no interface version in domctl.h");

    let mut source = format!("{INCLUDES}\nint main(void) {{\n");
    let own = ["XEN_DOMCTL_INTERFACE_VERSION", "XEN_SYSCTL_INTERFACE_VERSION"];
    let names = expected(version).into_keys().chain(own.map(str::to_owned));
    for name in names {
        let _ =
            writeln!(source, "printf(\"%s=%llu\\n\", \"{name}\", (unsigned long long)({name}));");
    }
    source.push_str("return 0; }\n");

    let scratch = std::env::temp_dir().join(format!("xen-sys-headers-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let (input, program) = (scratch.join("probe.c"), scratch.join("probe"));
    std::fs::write(&input, source).unwrap();
    let compiler = Command::new("cc")
        .args(["-w", "-I"])
        .arg(folder)
        .arg("-o")
        .arg(&program)
        .arg(&input)
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&compiler.stderr);
    assert!(compiler.status.success(), "the probe does not compile:\n{messages}");
    let output = Command::new(&program).output().unwrap();
    std::fs::remove_dir_all(&scratch).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |line: &str| {
        let (name, value) = line.rsplit_once('=').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines().map(number).collect()
}
