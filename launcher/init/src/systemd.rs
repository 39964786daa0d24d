//! An app whose program is systemd. It needs control groups, and without them says so only by
//! standing still.

use crate::failure::Failure;
use crate::program::Program;
use std::fs;
use std::path::Path;

/// The kernel's list of its file systems.
pub const KERNEL_LIST: &str = "/proc/filesystems";

/// Refuses systemd where the kernel, by `list` ([`KERNEL_LIST`]), has no control groups.
///
/// # Errors
/// It is systemd, and there are none.
pub fn refuse_without_cgroups(program: &Program, list: &Path) -> Result<(), Failure> {
    let Some(file) = program.files().find_map(|file| fs::canonicalize(file).ok()) else {
        return Ok(());
    };
    let has_cgroups = || fs::read_to_string(list).is_ok_and(|list| list.contains("cgroup2"));
    if !file.ends_with("systemd/systemd") || has_cgroups() {
        return Ok(());
    }
    Err(Failure::not_executable(format!(
        "cannot run {}: it is systemd, which needs control groups, and this domain's kernel has none; \
         run the service's own program, or give a kernel with CONFIG_CGROUPS (--kernel)",
        program.name()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Process;
    use std::os::unix::fs::symlink;

    #[test]
    fn systemd_by_whatever_name_is_refused_where_the_kernel_has_no_control_groups() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("lib/systemd")).unwrap();
        fs::write(at("lib/systemd/systemd"), "").unwrap();
        symlink("lib/systemd/systemd", at("init")).unwrap();
        fs::write(at("other"), "").unwrap();
        fs::write(at("without"), "nodev\tproc\n\text4\n").unwrap();
        fs::write(at("with"), "nodev\tproc\nnodev\tcgroup\nnodev\tcgroup2\n").unwrap();
        let refused = |name: &str, list: &str| {
            let user = crate::user::resolve("", "", "").unwrap();
            let args = vec![at(name).to_str().unwrap().to_owned()];
            let process = Process { args, ..Process::default() };
            let program = Program::prepare(&process, "h", user).unwrap();
            refuse_without_cgroups(&program, &at(list)).err()
        };
        for name in ["init", "lib/systemd/systemd"] {
            let failure = refused(name, "without").unwrap();
            assert_eq!(failure.code, 126);
            assert!(failure.message.contains("needs control groups"), "{failure}");
        }
        for (name, list) in [("init", "with"), ("other", "without"), ("no-such", "without")] {
            assert_eq!(refused(name, list), None, "{name} {list}");
        }
    }
}
