//! The writable layer: a sparse ext4 disk, copied from a template that is made once per size.
//!
//! `mke2fs` punches holes into a regular file and therefore marks all inode tables as zeroed. So the template of
//! 8 GiB holds only 230 KiB, which is all that a copy writes, and the guest initializes nothing later. The journal
//! stays, so that data survive a killed domain.

use crate::storage::sparse::{self, Likeness};
use contract::devices;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Must be increased whenever the options below change.
const TEMPLATE_VERSION: u32 = 4;
const OPTIONS: [&str; 11] = [
    "-q",
    "-F",
    // Reserves no blocks for root: every guest process may be root, and growing needs no reserved blocks.
    "-m",
    "0",
    // Each mount reads the whole orphan file, 512 blocks, one after the other; without it the superblock holds
    // a list. Checksums of metadata take a tenth of the guest kernel's work from an app's orders to its answer,
    // and would only guard a file on a file system of dom0.
    "-O",
    "^resize_inode,^orphan_file,^metadata_csum,^metadata_csum_seed,uninit_bg",
    "-J",
    "size=8",
    "-E",
    "lazy_journal_init=1,root_owner=0:0",
    "-text4",
];
/// ext4 with its journal needs a few MiB.
const MIN_MIB: u64 = 16;
/// The largest file on an ext4 file system of dom0.
const MAX_MIB: u64 = 16 << 20;

/// Why a writable layer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WritableError {
    /// The size is too small or too large.
    #[error("a writable layer cannot have {0} MiB; give from {MIN_MIB} MiB to {MAX_MIB} MiB")]
    Size(u64),
    /// `mke2fs` is missing.
    #[error("cannot find the program mke2fs; install e2fsprogs")]
    NoMke2fs,
    /// `mke2fs` failed.
    #[error("mke2fs cannot make {path}: {cause}")]
    Mke2fs {
        /// The template.
        path: PathBuf,
        /// The first line of its error output.
        cause: String,
    },
    /// The layer holds data, but no file system.
    #[error(
        "writable layer {path} has lost its file system, but not all data; look at it with `e2fsck -n {path}`, or remove the app with `launch rm`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A file operation of dom0 failed.
    #[error("cannot {action} {path}")]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> WritableError {
    move |source| WritableError::Io { action, path: path.to_owned(), source }
}

/// Makes the disk `path` of `size_mib`; templates are kept in the folder `templates`.
///
/// # Errors
/// `mke2fs` is missing, or the disk is full. Nothing is left at `path` then.
pub(crate) fn make(templates: &Path, path: &Path, size_mib: u64) -> Result<(), WritableError> {
    if !(MIN_MIB..=MAX_MIB).contains(&size_mib) {
        return Err(WritableError::Size(size_mib));
    }
    let template = template(templates, size_mib)?;
    sparse::copy(&template, path).map_err(|source| {
        // Report the first error.
        let _ = fs::remove_file(path);
        failed("write", path)(source)
    })
}

/// Makes the disk `path` again if a power cut lost what [`make`] had written; [`make`] does not sync because a launch
/// would wait for that. Returns whether it did so.
///
/// Replaces only a disk that holds nothing but parts of its template, never one with data. A guest first writes the
/// superblock, so the comparison of a used disk ends at its beginning.
///
/// # Errors
/// The disk has data but no file system; `mke2fs` is missing, or dom0's disk is full.
pub(crate) fn mend(templates: &Path, path: &Path, size_mib: u64) -> Result<bool, WritableError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let template = match File::open(template_path(templates, size_mib)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened.map_err(failed("open", templates))?),
    };
    match sparse::compare(&file, template.as_ref()).map_err(failed("read", path))? {
        Likeness::Same => Ok(false),
        Likeness::Other if has_file_system(&file).map_err(failed("read", path))? => Ok(false),
        Likeness::Other => Err(WritableError::Damaged { path: path.to_owned() }),
        Likeness::Part => {
            let whole = path.with_extension("new");
            match fs::remove_file(&whole) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &whole)(error));
                }
                _ => make(templates, &whole, size_mib)?,
            }
            fs::rename(&whole, path).map_err(failed("write", path))?;
            Ok(true)
        }
    }
}

/// Whether the disk has the magic number of an ext4 superblock.
fn has_file_system(file: &File) -> io::Result<bool> {
    let mut mark = [0; 2];
    match file.read_exact_at(&mut mark, 1024 + 0x38) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| u16::from_le_bytes(mark) == 0xef53),
    }
}

fn template_path(folder: &Path, size_mib: u64) -> PathBuf {
    folder.join(format!("ext4-v{TEMPLATE_VERSION}-{size_mib}.img"))
}

fn template(folder: &Path, size_mib: u64) -> Result<PathBuf, WritableError> {
    let path = template_path(folder, size_mib);
    if path.exists() {
        return Ok(path);
    }
    files::make_private(folder).map_err(failed("make", folder))?;
    // Two processes may make the same template at once: the later one replaces the other.
    let temporary = tempfile_in(folder, size_mib)?;
    let contents = temporary.with_extension("contents");
    let made = make_folders(&contents)
        .and_then(|()| run_mke2fs(&temporary, &contents, &path))
        .and_then(|()| fs::rename(&temporary, &path).map_err(failed("write", &path)));
    // Report the first error.
    let _ = fs::remove_dir_all(&contents);
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made.map(|()| path)
}

/// Makes the folders that the guest's first mount would otherwise have to make.
fn make_folders(contents: &Path) -> Result<(), WritableError> {
    for name in [devices::LAYER_FOLDER, devices::SCRATCH_FOLDER] {
        let folder = contents.join(name);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o755)))
            .map_err(failed("make", &folder))?;
    }
    Ok(())
}

fn tempfile_in(folder: &Path, size_mib: u64) -> Result<PathBuf, WritableError> {
    let path = folder.join(format!("{}-{size_mib}.tmp", std::process::id()));
    let make = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?
            .set_len(size_mib << 20)
    };
    make().map_err(failed("write", &path))?;
    Ok(path)
}

fn run_mke2fs(file: &Path, contents: &Path, path: &Path) -> Result<(), WritableError> {
    for program in ["mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"] {
        let mut command = Command::new(program);
        command.args(OPTIONS).arg("-d").args([contents, file]).stdin(Stdio::null());
        let output = command.output();
        match output {
            Ok(output) if output.status.success() => {
                let synced = File::open(file).and_then(|file| file.sync_all());
                return synced.map_err(failed("write", file));
            }
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stderr);
                let cause = words.lines().find(|line| !line.trim().is_empty());
                let cause = cause.map_or_else(|| output.status.to_string(), str::to_owned);
                return Err(WritableError::Mke2fs { path: path.to_owned(), cause });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("run mke2fs for", path)(error)),
        }
    }
    Err(WritableError::NoMke2fs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn have_e2fsprogs() -> bool {
        let have = Command::new("e2fsck").arg("-V").output().is_ok();
        if !have {
            eprintln!("skipped: e2fsprogs is not installed");
        }
        have
    }

    #[test]
    fn a_layer_is_a_clean_file_system_that_takes_little_room() {
        let _alone = crate::tests::alone();
        if !have_e2fsprogs() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["first", "second"] {
            let path = folder.path().join(name);
            make(&folder.path().join("templates"), &path, 8192).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.len(), 8 << 30);
            assert!(metadata.blocks() * 512 < 512 << 10, "{} blocks", metadata.blocks());
            let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&path).output().unwrap();
            assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
            let show = Command::new("debugfs").args(["-R", "ls -p"]).arg(&path).output().unwrap();
            let listed = String::from_utf8_lossy(&show.stdout);
            for name in ["/upper/", "/work/"] {
                let line = listed.lines().find(|line| line.contains(name));
                assert!(line.is_some_and(|line| line.contains("/040755/")), "{listed}");
            }
        }
        assert_eq!(fs::read_dir(folder.path().join("templates")).unwrap().count(), 1);
    }

    /// A disk right after [`make`], and after a power cut at several moments.
    #[test]
    fn what_a_power_cut_lost_of_a_new_disk_is_written_again() {
        let _alone = crate::tests::alone();
        if !have_e2fsprogs() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (templates, path) = (folder.path().join("templates"), folder.path().join("disk"));
        make(&templates, &path, 64).unwrap();
        let whole = fs::read(&path).unwrap();
        assert!(!mend(&templates, &path, 64).unwrap());
        let mut torn = whole.clone();
        torn[..4096].fill(0);
        let mut late = whole.clone();
        let last = late.iter().rposition(|byte| *byte != 0).unwrap();
        late[last / 512 * 512..].fill(0);
        let zeros = vec![0; 64 << 20];
        for left in [&zeros[..], &zeros[..1 << 20], &[], &torn, &late, &whole[..1 << 20]] {
            fs::write(&path, left).unwrap();
            // A repair that was killed halfway is completed.
            fs::write(path.with_extension("new"), "half").unwrap();
            assert!(mend(&templates, &path, 64).unwrap(), "{} bytes", left.len());
            assert!(fs::read(&path).unwrap() == whole);
            assert!(!mend(&templates, &path, 64).unwrap());
        }
        // If the template is missing, as after an upgrade, only an empty disk is made again.
        fs::remove_dir_all(&templates).unwrap();
        fs::write(&path, &torn).unwrap();
        assert!(matches!(mend(&templates, &path, 64), Err(WritableError::Damaged { .. })));
        fs::write(&path, &zeros).unwrap();
        assert!(mend(&templates, &path, 64).unwrap());
        let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&path).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }

    #[test]
    fn a_disk_with_data_is_never_written_again() {
        let _alone = crate::tests::alone();
        if !have_e2fsprogs() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (templates, path) = (folder.path().join("templates"), folder.path().join("disk"));
        make(&templates, &path, 64).unwrap();
        let whole = fs::read(&path).unwrap();
        let data_at = |at: usize, lost: usize| {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(b"data");
            bytes[..lost].fill(0);
            fs::write(&path, &bytes).unwrap();
            let mended = mend(&templates, &path, 64);
            assert!(fs::read(&path).unwrap() == bytes, "data at {at}");
            mended
        };
        // A disk after a mount, and disks whose last blocks alone were changed.
        for at in [1024 + 44, 40 << 20, (64 << 20) - 4] {
            assert!(!data_at(at, 0).unwrap(), "data at {at}");
        }
        for at in [8192, 40 << 20, (64 << 20) - 4] {
            let error = data_at(at, 4096).unwrap_err();
            assert!(matches!(error, WritableError::Damaged { .. }), "{error}");
        }
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&whole[..4096], 0).unwrap();
        assert!(!mend(&templates, &path, 64).unwrap());
    }

    #[test]
    fn a_size_that_ext4_cannot_have_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for size_mib in [0, 15, MAX_MIB + 1] {
            let made = make(folder.path(), &folder.path().join("x"), size_mib);
            assert!(matches!(made, Err(WritableError::Size(_))), "{size_mib}");
        }
    }
}
