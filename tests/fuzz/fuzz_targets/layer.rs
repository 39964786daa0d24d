//! Layers of an image, cut out of the input: each is an error or becomes part of a disk of whole
//! blocks, which is the same when it is made again.
#![no_main]

use image::{Converter, Limits};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

fuzz_target!(|layers: Vec<&[u8]>| {
    let disk = convert(&layers);
    assert_eq!(disk.as_ref().map_or(0, |bytes| bytes.len() % 4096), 0);
    assert_eq!(disk, convert(&layers));
});

fn convert(layers: &[&[u8]]) -> Option<Vec<u8>> {
    let file = tempfile::tempfile().expect("a temporary file");
    let mut disk = file.try_clone().expect("another descriptor");
    let mut converter = Converter::new(file, &Limits::default()).ok()?;
    for layer in layers {
        converter.apply_layer(*layer).ok()?;
    }
    converter.finish().ok()?;
    let mut bytes = vec![];
    std::io::Seek::rewind(&mut disk).and_then(|()| disk.read_to_end(&mut bytes)).ok()?;
    Some(bytes)
}
