//! Writes the archive that the kernel unpacks as its first root, in cpio's "newc" format.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. The same entries give the same bytes,
//! because owner, times and inode numbers do not come from the machine.

use anyhow::{Context, Result, ensure};

const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// An archive under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An archive with folders, `/init`, and the console that the kernel opens as init's standard streams before
    /// anything is mounted; `dev` must be among the folders.
    ///
    /// # Errors
    /// A name or `init` is longer than the format allows.
    pub fn with_init(folders: &[&str], init: &[u8]) -> Result<Self> {
        let mut archive = Self::default();
        for folder in folders {
            archive.add_directory(folder, 0o755)?;
        }
        archive.add_character_device("dev/console", 0o600, (5, 1))?;
        archive.add_file("init", 0o755, init)?;
        Ok(archive)
    }

    /// Adds a folder. A folder must be added before its contents.
    ///
    /// # Errors
    /// The name is longer than the format allows.
    pub fn add_directory(&mut self, name: &str, mode: u32) -> Result<()> {
        self.add(name, DIRECTORY | mode, (0, 0), &[])
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// The name is longer than the format allows.
    pub fn add_character_device(
        &mut self,
        name: &str,
        mode: u32,
        number: (u32, u32),
    ) -> Result<()> {
        self.add(name, CHARACTER_DEVICE | mode, number, &[])
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The file has 4 GiB or more.
    pub fn add_file(&mut self, name: &str, mode: u32, contents: &[u8]) -> Result<()> {
        self.add(name, REGULAR | mode, (0, 0), contents)
    }

    /// Ends the archive and returns its bytes.
    ///
    /// # Errors
    /// No error occurs in practice.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.add("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        ensure!(!name.starts_with('/'), "{name}: names in a cpio archive start at its root");
        let size = u32::try_from(contents.len()).context("too large for a cpio archive")?;
        let name_size = u32::try_from(name.len() + 1).context("name too long for cpio")?;
        self.entries += 1;
        let links = if mode & DIRECTORY == 0 { 1 } else { 2 };
        // inode, mode, uid, gid, links, mtime, size, device (2), number of a device file (2), name size, check
        let (major, minor) = device;
        self.bytes.extend(b"070701");
        for field in [self.entries, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn sample() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.add_directory("dev", 0o755).unwrap();
        archive.add_character_device("dev/console", 0o600, (5, 1)).unwrap();
        archive.add_file("init", 0o755, b"#!/bin/sh\n").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn an_entry_has_the_layout_the_kernel_reads() {
        let mut archive = Archive::default();
        archive.add_file("ab", 0o644, b"xyz").unwrap();
        let bytes = archive.finish().unwrap();
        let header = "070701\
            00000001000081A40000000000000000000000010000000000000003\
            000000000000000000000000000000000000000300000000";
        assert_eq!(&bytes[..110], header.as_bytes());
        // The name, its NUL, no padding (113 -> 116); the contents, padded to 120.
        assert_eq!(&bytes[110..120], b"ab\0\0\0\0xyz\0");
        assert_eq!(bytes.len() % 4, 0);
    }

    /// The bytes depend only on the entries, not on clock, user or inode numbers. A change of the format changes this
    /// digest.
    #[test]
    fn the_same_entries_give_the_same_bytes() {
        let digest = crate::cache::Key::default().with("archive", sample()).name();
        assert_eq!(digest, "55f832185c445f05e42da2dc");
    }

    #[test]
    fn the_cpio_program_lists_what_was_added() {
        let command = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut cpio) = command else {
            eprintln!("skipped: cpio is not installed");
            return;
        };
        cpio.stdin.take().unwrap().write_all(&sample()).unwrap();
        let output = cpio.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("crw-------") && text.contains("5,   1"), "{text}");
    }

    #[test]
    fn absolute_names_are_refused() {
        let error = Archive::default().add_file("/init", 0o755, b"").unwrap_err().to_string();
        assert!(error.contains("start at its root"), "{error}");
    }
}
