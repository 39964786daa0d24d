//! Runs the converter on layers in memory and reads the disk back.

use crate::build::Layer;
use crate::reader::{self, Files, Found};
use image::{ConvertError, Converter, Disk, Limits};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// Converts archives as they are.
pub(crate) fn convert_bytes(
    layers: &[Vec<u8>],
    limits: &Limits,
) -> Result<(File, Disk), ConvertError> {
    let file = scratch_disk();
    let mut converter = Converter::new(file.try_clone().unwrap(), limits)?;
    for layer in layers {
        converter.apply_layer(Trickle(layer))?;
    }
    let disk = converter.finish()?;
    assert_eq!(disk.bytes, file.metadata().unwrap().len());
    Ok((file, disk))
}

/// Converts layers with the default limits.
pub(crate) fn convert(layers: &[Layer]) -> Result<File, ConvertError> {
    let layers: Vec<Vec<u8>> = layers.iter().map(Layer::tar).collect();
    convert_bytes(&layers, &Limits::default()).map(|(file, _)| file)
}

/// Converts layers and reads the disk back.
pub(crate) fn files(layers: &[Layer]) -> Files {
    match convert(layers) {
        Ok(file) => reader::read(&contents(&file)),
        Err(error) => panic!("{}", chain(&error)),
    }
}

/// The error of a conversion that must fail, with its causes.
pub(crate) fn failure(layers: &[Layer]) -> String {
    match convert(layers) {
        Ok(_) => panic!("the conversion went well"),
        Err(error) => chain(&error),
    }
}

/// An error and its causes, as the command line shows them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// All bytes of a file.
pub(crate) fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Names on a disk, `/` behind directories, without the root.
pub(crate) fn names(files: &Files) -> Vec<String> {
    files
        .iter()
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, found)| {
            let slash = if found.mode & 0o170_000 == 0o040_000 { "/" } else { "" };
            format!("{}{slash}", path.escape_ascii())
        })
        .collect()
}

/// The file at a path.
pub(crate) fn at<'a>(files: &'a Files, path: &str) -> &'a Found {
    files.get(path.as_bytes()).unwrap_or_else(|| panic!("no {path} in {:?}", names(files)))
}

/// Gives its bytes in pieces of odd sizes, as an inflating reader does.
pub(crate) struct Trickle<'a>(pub(crate) &'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(1 + self.0.len() % 40_009);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// A disk file in memory: thousands of small disks should not wait for a real one.
pub(crate) fn scratch_disk() -> File {
    let name = "disk";
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap().into()
}
