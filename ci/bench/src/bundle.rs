//! The OCI bundle that `crun` and `runc` run, as an engine makes it from the image's config.

use serde_json::{Value, json};

/// Docker's default capabilities.
const CAPABILITIES: &str = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID \
    CAP_SETUID CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE";

/// Renders `config.json`: a prepared root, separate namespaces, and `hook`, a command that sets up the network. `ids`
/// are user and group; `image` is the `config` that `launch inspect` shows of an image.
pub(crate) fn render_config(
    image: &Value,
    root: &str,
    hostname: &str,
    hook: &[&str],
    ids: (u32, u32),
) -> Value {
    let list = |key: &str| image[key].as_array().cloned().unwrap_or_default();
    let args = [list("entrypoint"), list("cmd")].concat();
    let cwd = image["working_dir"].as_str().filter(|cwd| !cwd.is_empty()).unwrap_or("/");
    let capabilities: Vec<&str> = CAPABILITIES.split(' ').collect();
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": ids.0, "gid": ids.1},
            "args": args,
            "env": list("env"),
            "cwd": cwd,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "noNewPrivileges": false,
        },
        "root": {"path": root, "readonly": false},
        "hostname": hostname,
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "hooks": {"createRuntime": [{"path": hook.first(), "args": hook}]},
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"}, {"type": "network"},
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_is_started_as_the_image_says() {
        let image =
            json!({"entrypoint": ["a"], "cmd": ["b", "c"], "env": ["X=1"], "working_dir": ""});
        let config = render_config(&image, "/root", "app", &["/hook", "x"], (1, 2));
        assert_eq!(config["process"]["args"], json!(["a", "b", "c"]));
        assert_eq!(config["process"]["env"], json!(["X=1"]));
        assert_eq!(config["process"]["cwd"], "/");
        assert_eq!(config["process"]["user"], json!({"uid": 1, "gid": 2}));
        let hook = &config["hooks"]["createRuntime"][0];
        assert_eq!((&hook["path"], &hook["args"]), (&json!("/hook"), &json!(["/hook", "x"])));
    }
}
