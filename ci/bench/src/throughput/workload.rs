//! The workloads of the apps.

use serde_json::{Value, json};

/// A workload: its name in the figures, its title, and the unit of its rate.
pub(crate) type Workload = (&'static str, &'static str, &'static str);

/// An app that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) image: &'static str,
    pub(crate) port: u16,
    /// The client's question to see whether the app is up.
    pub(crate) question: &'static str,
}

pub(crate) const NGINX: Served = Served { image: "nginx", port: 80, question: "http" };
pub(crate) const REDIS: Served = Served { image: "redis", port: 6379, question: "redis-ping" };

/// Loads in the order of running: the workload, its app, and the client's request.
pub(crate) const LOADS: [(Workload, Served, &str); 4] = [
    (("nginx-page", "nginx, its own page", "requests"), NGINX, "http:/"),
    (("nginx-1mib", "nginx, a file of 1 MiB", "MiB"), NGINX, "http:/one-mib"),
    (("redis-get", "redis, GET of 64 bytes", "requests"), REDIS, "redis-get"),
    (("redis-set", "redis, SET of 64 bytes", "requests"), REDIS, "redis-set"),
];

/// The process beside nginx.
pub(crate) const EXEC: Workload =
    ("exec", "`exec` of `true` beside nginx, one after the other", "processes");

/// The workloads of `dd`, in the order of [`DISK_SCRIPT`].
pub(crate) const DISK: [Workload; 4] = [
    ("disk-write", "32 MiB written and synced", "MiB"),
    ("disk-sync", "writes of 4 KiB, each synced", "writes"),
    ("image-read", "the image's programs and libraries, first read", "MiB"),
    ("image-read-again", "the same once more", "MiB"),
];

/// The number of writes in `disk-sync`.
pub(crate) const SYNCED_WRITES: u32 = 64;

/// The script that a shell runs instead of the app; each `dd` prints its bytes and seconds.
pub(crate) const DISK_SCRIPT: &str = include_str!("../../pages/disk.sh");

impl Served {
    /// The app's command; for nginx, it first creates the file of 1 MiB.
    pub(crate) fn command(&self) -> Vec<String> {
        let words: &[&str] = match self.image {
            "nginx" => &[
                "sh",
                "-c",
                "yes 0123456789abcdef | head -c 1048576 >/var/www/html/one-mib && exec nginx -g 'daemon off;'",
            ],
            // Without snapshots, which would fork at unpredictable times.
            _ => &["redis-server", "--protected-mode", "no", "--save", ""],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// An image's config with another command.
pub(crate) fn with_command(image: &Value, command: &[String]) -> Value {
    let mut config = image.clone();
    config["entrypoint"] = json!([]);
    config["cmd"] = json!(command);
    config
}

/// Bytes and seconds of each `dd`, from its output.
pub(crate) fn parse_dd(output: &str) -> Vec<(f64, f64)> {
    let line = |line: &str| {
        let (bytes, rest) = line.trim().split_once(" bytes ")?;
        let (_, rest) = rest.split_once(" copied, ")?;
        let (seconds, _) = rest.split_once(" s,")?;
        Some((bytes.parse().ok()?, seconds.parse().ok()?))
    };
    output.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dd_tells_its_bytes_and_seconds() {
        let output = "32+0 records in\n32+0 records out\n\
            33554432 bytes (34 MB, 32 MiB) copied, 0.5 s, 67.1 MB/s\n\
            262144 bytes (262 kB, 256 KiB) copied, 1.25 s, 210 kB/s\r\n";
        assert_eq!(parse_dd(output), [(33_554_432.0, 0.5), (262_144.0, 1.25)]);
    }

    #[test]
    fn the_file_is_made_where_it_is_asked_for() {
        let (_, _, asked) = LOADS.iter().find(|(what, ..)| what.0 == "nginx-1mib").unwrap();
        assert!(asked.ends_with("/one-mib"));
        assert!(NGINX.command()[2].contains("/one-mib &&"));
        assert!(DISK_SCRIPT.contains(&format!("count={SYNCED_WRITES} oflag")));
    }
}
