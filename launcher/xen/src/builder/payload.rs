//! Files that go into a guest's memory.

use std::fs::File;
use std::io;

/// A file to put into a guest's memory. It is read directly into its place.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    pub(super) file: &'a File,
    /// Its size in bytes at the creation of this value.
    pub(super) bytes: u64,
}

impl<'a> Payload<'a> {
    /// The whole of `file`.
    ///
    /// # Errors
    /// The size of the file cannot be read.
    pub fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, bytes: file.metadata()?.len() })
    }
}

#[cfg(test)]
pub(super) fn file_of(bytes: &[u8]) -> File {
    use std::io::Write;
    let memory = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(memory);
    file.write_all(bytes).unwrap();
    file
}
