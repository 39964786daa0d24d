//! What a scenario stands on: an image's tree and disks, and a root that looks like the
//! initramfs with those disks in `/dev`.

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that the scenarios' apps use, taken from this machine with their libraries.
const PROGRAMS: [&str; 9] = ["sh", "cat", "id", "ls", "mkdir", "mount", "mv", "sleep", "stat"];

/// Makes the tree of a small image in `tree`.
pub(crate) fn make_tree(tree: &Path) {
    for folder in ["bin", "etc", "tmp", "run/app", "lib64", "folder/inner", "srv"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    for program in PROGRAMS {
        copy_program(&Path::new("/bin").join(program), tree);
    }
    // Scenarios run this test's own program there, in the place of init's, which is static.
    copy_libraries(&std::env::current_exe().unwrap(), tree);
    let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
    fs::write(tree.join("etc/passwd"), passwd).unwrap();
    fs::write(tree.join("etc/group"), "root:x:0:\nlog:x:44:app\n").unwrap();
    symlink("/run/none/resolv.conf", tree.join("etc/resolv.conf")).unwrap();
    fs::write(tree.join("run/app/kept"), "from the image\n").unwrap();
    script(tree, "bin/lost-interpreter", "#!/bin/no-such-shell\n", 0o755);
    script(tree, "bin/not-executable", "#!/bin/sh\n", 0o644);
    script(tree, "bin/no-format", "neither ELF nor script\n", 0o755);
    fs::create_dir(tree.join("bin/a-folder")).unwrap();
}

fn script(tree: &Path, name: &str, text: &str, mode: u32) {
    let path = tree.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn copy_program(program: &Path, tree: &Path) {
    let name = program.file_name().unwrap();
    fs::copy(program, tree.join("bin").join(name)).unwrap();
    copy_libraries(program, tree);
}

fn copy_libraries(program: &Path, tree: &Path) {
    let libraries = run("ldd", &[program.to_str().unwrap()]);
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = tree.join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(library, inside).unwrap();
    }
}

/// Makes an EROFS disk of `tree`.
pub(crate) fn make_erofs(tree: &Path, disk: &Path) {
    run("mkfs.erofs", &[disk.to_str().unwrap(), tree.to_str().unwrap()]);
}

/// Makes an empty ext4 disk.
pub(crate) fn make_ext4(disk: &Path) {
    fs::File::create(disk).unwrap().set_len(32 << 20).unwrap();
    run("mke2fs", &["-q", "-t", "ext4", disk.to_str().unwrap()]);
}

/// Whether an ext4 disk was left clean, by its own mark and by e2fsck.
pub(crate) fn is_clean(disk: &Path) -> bool {
    let state = run("dumpe2fs", &["-h", disk.to_str().unwrap()]);
    let marked =
        state.lines().any(|line| line.starts_with("Filesystem state:") && line.ends_with("clean"));
    let recovers = state.contains("needs_recovery");
    let checked = Command::new("e2fsck").args(["-fn"]).arg(disk).output().unwrap();
    marked && !recovers && checked.status.success()
}

/// A loop device; taken down with the value.
pub(crate) struct Loop(PathBuf);

impl Loop {
    /// Attaches `file`.
    pub(crate) fn attach(file: &Path, read_only: bool) -> Self {
        let mut arguments = vec!["--find", "--show"];
        if read_only {
            arguments.push("--read-only");
        }
        arguments.push(file.to_str().unwrap());
        Self(PathBuf::from(run("losetup", &arguments).trim()))
    }

    /// The device's number.
    pub(crate) fn number(&self) -> u64 {
        fs::metadata(&self.0).unwrap().rdev()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// Keeps what is mounted from now on from reaching this machine's own mounts.
pub(crate) fn make_mounts_private() {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
}

/// Makes `folder` the root of this process, laid out as the initramfs, with the given disks.
pub(crate) fn enter_initramfs(folder: &Path, disks: &[(&str, u64)]) {
    make_mounts_private();
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), c"mode=0755").unwrap();
    for inside in ["dev", "proc"] {
        fs::create_dir(folder.join(inside)).unwrap();
    }
    for (name, number) in disks {
        let (major, minor) = (rustix::fs::major(*number), rustix::fs::minor(*number));
        let path = folder.join("dev").join(name);
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, path, FileType::BlockDevice, mode, makedev(major, minor)).unwrap();
    }
    // As init finds it: the root of its mount namespace.
    rustix::process::chdir(folder).unwrap();
    rustix::mount::mount_move(".", "/").unwrap();
    rustix::process::chroot(".").unwrap();
    rustix::process::chdir("/").unwrap();
}

/// Runs a program of this machine and returns what it said.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}{complained}");
    said
}
