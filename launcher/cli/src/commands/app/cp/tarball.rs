//! Writes the files that a guest sends as a tar: `launch cp APP:PATH -`.

use copy::{Meta, Sink};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

const BLOCK: u64 = 512;

/// A tar that is being written. Only [`Tarball::finish`] writes its end, so that an incomplete tar does not look
/// complete.
pub(super) struct Tarball<W: Write> {
    /// Forgotten instead of dropped, because dropping would write the tar's end.
    tar: Option<Builder<W>>,
    /// The path of the innermost folder.
    path: PathBuf,
    /// The name of the top entry.
    name: PathBuf,
    /// The file's size in its header, and how much of it is written.
    file: (u64, u64),
}

impl<W: Write> Tarball<W> {
    pub(super) fn new(name: &Path, out: W) -> Self {
        let tar = Some(Builder::new(out));
        Self { tar, path: PathBuf::new(), name: name.to_owned(), file: (0, 0) }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.tar()?.finish()?;
        self.out()?.flush()
    }

    fn tar(&mut self) -> io::Result<&mut Builder<W>> {
        self.tar.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn out(&mut self) -> io::Result<&mut W> {
        Ok(self.tar()?.get_mut())
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        match name.is_empty() {
            true => self.name.clone(),
            false => self.path.join(name),
        }
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), count), self.out()?).map(drop)
    }
}

impl<W: Write> Drop for Tarball<W> {
    fn drop(&mut self) {
        // Dropping it would write the end of the tar.
        std::mem::forget(self.tar.take());
    }
}

fn header(kind: EntryType, meta: &Meta, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(u32::from(meta.mode));
    header.set_uid(u64::from(meta.uid));
    header.set_gid(u64::from(meta.gid));
    // The format has no times before 1970.
    header.set_mtime(u64::try_from(meta.mtime).unwrap_or(0));
    header.set_size(size);
    header
}

impl<W: Write> Sink for Tarball<W> {
    fn folder(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        let path = self.path(name);
        self.tar()?.append_data(&mut header(EntryType::Directory, meta, 0), &path, io::empty())?;
        self.path = path;
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        self.path.pop();
        Ok(())
    }

    fn file(&mut self, name: &OsStr, meta: &Meta, size: u64) -> io::Result<()> {
        let path = self.path(name);
        // Only the header; the data follow in pieces.
        self.tar()?.append_data(&mut header(EntryType::Regular, meta, size), path, io::empty())?;
        self.file = (size, 0);
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.zeros(offset.saturating_sub(self.file.1))?;
        self.out()?.write_all(bytes)?;
        self.file.1 = offset + bytes.len() as u64;
        Ok(())
    }

    /// Fills a file up with zeros if it has become shorter since its header was written.
    fn end_of_file(&mut self, _size: u64) -> io::Result<()> {
        let (size, written) = self.file;
        self.zeros(size.next_multiple_of(BLOCK) - written)
    }

    fn link(&mut self, name: &OsStr, meta: &Meta, target: &OsStr) -> io::Result<()> {
        let path = self.path(name);
        self.tar()?.append_link(&mut header(EntryType::Symlink, meta, 0), path, target)
    }

    fn pipe(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        let path = self.path(name);
        self.tar()?.append_data(&mut header(EntryType::Fifo, meta, 0), path, io::empty())
    }

    fn same_file(&mut self, name: &OsStr, first: &Path) -> io::Result<()> {
        let (path, first) = (self.path(name), self.name.join(first));
        let mut header = header(EntryType::Link, &Meta::default(), 0);
        self.tar()?.append_link(&mut header, path, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn fill(tarball: &mut Tarball<&mut Vec<u8>>) {
        let meta = Meta { mode: 0o4755, uid: 70_000, gid: 3_000_000, mtime: 5, mtime_nanos: 0 };
        tarball.folder(OsStr::new(""), &meta).unwrap();
        let long = OsStr::new(std::str::from_utf8(&[b'n'; 250]).unwrap());
        tarball.folder(long, &meta).unwrap();
        tarball.file(OsStr::new("file"), &meta, 1000).unwrap();
        tarball.data(10, b"middle").unwrap();
        // The file had 1000 bytes when it was begun.
        tarball.end_of_file(500).unwrap();
        tarball.leave().unwrap();
        tarball.link(OsStr::new("link"), &meta, long).unwrap();
        tarball.leave().unwrap();
    }

    #[test]
    fn a_tar_has_all_that_came_and_holes_as_zeros() {
        let mut bytes = vec![];
        let mut tarball = Tarball::new(Path::new("top"), &mut bytes);
        fill(&mut tarball);
        tarball.finish().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut told = vec![];
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = vec![];
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (70_000, 3_000_000));
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o4755, 5));
            told.push((entry.path().unwrap().display().to_string(), content));
        }
        let long = "n".repeat(250);
        let mut content = vec![0; 1000];
        content[10..16].copy_from_slice(b"middle");
        assert_eq!(told[0], ("top".into(), vec![]));
        assert_eq!(told[1].0, format!("top/{long}"));
        assert_eq!(told[2], (format!("top/{long}/file"), content));
        assert_eq!(told[3].0, "top/link");
    }

    #[test]
    fn a_tar_that_is_not_finished_has_no_end() {
        let (mut cut, mut whole) = (vec![], vec![]);
        fill(&mut Tarball::new(Path::new("top"), &mut cut));
        let mut tarball = Tarball::new(Path::new("top"), &mut whole);
        fill(&mut tarball);
        tarball.finish().unwrap();
        assert_eq!(whole.len() - cut.len(), 1024);
        assert!(whole.starts_with(&cut));
    }
}
