//! What a guest sends to `launch cp`: it is an error or a tree within the limits, and nothing is written
//! beside the folder.
#![no_main]

use copy::{Limits, Rights, Top, Tree, read_preamble, receive};
use libfuzzer_sys::fuzz_target;
use std::fs::{self, File};
use std::os::unix::fs::symlink;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 50, depth: 10, holes_count: false };

fuzz_target!(|bytes: &[u8]| {
    let around = tempfile::tempdir().expect("a folder");
    let top = around.path().join("top");
    fs::create_dir(&top).expect("a folder in it");
    symlink("..", top.join("out")).expect("a way out");
    let folder = File::open(&top).expect("the folder").into();
    let rights = Rights { mode: 0o777, owners: false, follow: false };
    let mut tree = Tree::new(Top::Folder { folder, is_new: false }, rights);
    let mut rest = bytes;
    if let Ok(kind) = read_preamble(&mut rest) {
        if let Ok(summary) = receive(rest, kind, &LIMITS, &mut tree) {
            assert!(summary.bytes <= LIMITS.bytes && summary.entries <= LIMITS.entries);
        }
    }
    let beside = fs::read_dir(around.path()).expect("the folder around").count();
    assert_eq!(beside, 1);
});
