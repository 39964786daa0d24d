//! Room on the disk: what is replaced is used again, what is zero takes none.

use crate::build::Layer;
use crate::run::{at, contents, convert, convert_bytes};
use image::Limits;
use std::os::unix::fs::MetadataExt;

#[test]
fn a_file_written_again_and_again_takes_its_room_once() {
    let mut layer = Layer::new();
    for i in 0..100 {
        layer = layer.file("f", &[i; 100_000]);
    }
    let file = convert(&[layer.clone(), layer]).unwrap();
    assert!(file.metadata().unwrap().len() <= 4096 * (25 + 2));
    let files = crate::reader::read(&contents(&file));
    assert!(at(&files, "f").data == [99; 100_000]);
}

#[test]
fn files_hidden_by_an_upper_layer_leave_holes_or_nothing() {
    let lower = Layer::new()
        .file("first", &[1; 3_000_000])
        .file("kept", &[2; 10])
        .file("last", &[3; 3_000_000]);
    let upper = Layer::new().file(".wh.first", b"").file(".wh.last", b"");
    let file = convert(&[lower, upper]).unwrap();
    let metadata = file.metadata().unwrap();
    assert!(metadata.len() < 3_100_000, "the last file's room is given back");
    assert!(metadata.blocks() * 512 < 100_000, "the first file's room is a hole");
    let disk = contents(&file);
    let traces = disk.windows(16).any(|w| w == [1; 16] || w == [3; 16]);
    assert!(!traces, "nothing of a hidden file is left");
}

#[test]
fn a_small_file_in_the_place_of_a_large_one_shows_nothing_of_it() {
    let lower = Layer::new().file("large", &[0xaa; 50_000]).file("end", b"e");
    let upper = Layer::new().file(".wh.large", b"").file("small", b"s").file("zeros", &[0; 9000]);
    let file = convert(&[lower, upper]).unwrap();
    let files = crate::reader::read(&contents(&file));
    assert_eq!(at(&files, "small").data, b"s");
    assert!(at(&files, "zeros").data == [0; 9000]);
    assert!(!contents(&file).contains(&0xaa));
}

#[test]
fn zeros_in_the_place_of_an_older_file_are_written() {
    let lower = Layer::new().file("large", &[0xaa; 50_000]).file("end", b"e");
    let upper = Layer::new().file(".wh.large", b"").file("zeros", &[0; 50_000]);
    let file = convert(&[lower, upper]).unwrap();
    assert!(at(&crate::reader::read(&contents(&file)), "zeros").data == [0; 50_000]);
}

#[test]
fn long_stretches_of_zeros_take_no_room() {
    let mut data = vec![0; 10_000_000];
    data[5_000_000] = 1;
    let file = convert(&[Layer::new().file("log", &data)]).unwrap();
    assert!(file.metadata().unwrap().blocks() * 512 < 300_000);
    assert!(at(&crate::reader::read(&contents(&file)), "log").data == data);
}

#[test]
fn what_the_disk_file_held_before_is_gone() {
    use std::os::unix::fs::FileExt;
    let file = crate::run::scratch_disk();
    file.write_all_at(&[0xee; 500_000], 0).unwrap();
    let converter = image::Converter::new(file.try_clone().unwrap(), &Limits::default()).unwrap();
    converter.finish().unwrap();
    let (empty, _) = convert_bytes(&[], &Limits::default()).unwrap();
    assert!(contents(&file) == contents(&empty));
}
