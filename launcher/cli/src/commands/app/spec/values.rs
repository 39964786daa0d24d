//! Parses the values of `launch run`'s flags, in Docker's forms.

use contract::{Host, Limit, Sysctl, Tmpfs};
use std::net::IpAddr;

/// Docker's default options of a memory file system; later options override them.
const TMPFS_OPTIONS: &str = "noexec,nosuid,nodev,mode=1777";
/// Names of limits, and their numbers in Linux on x86 (`asm-generic/resource.h`).
const LIMITS: [(&str, u32); 16] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

/// Parses `PATH[:OPTIONS]`.
pub(super) fn parse_tmpfs(text: &str) -> Result<Tmpfs, String> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    if !path.starts_with('/') || path == "/" {
        return Err(format!("{path:?} is not a valid mount point; write an absolute path below /"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "=,%_:.-".contains(c);
    if !options.chars().all(plain) {
        return Err(format!(
            "{options:?} is not a valid list of mount options; write e.g. size=16m,mode=700"
        ));
    }
    let separator = if options.is_empty() { "" } else { "," };
    let options = format!("{TMPFS_OPTIONS}{separator}{options}");
    Ok(Tmpfs { path: path.to_owned(), options })
}

/// Parses `NAME=SOFT[:HARD]`; -1 means no limit.
pub(super) fn parse_limit(text: &str) -> Result<Limit, String> {
    let Some((name, values)) = text.split_once('=') else {
        return Err("write NAME=SOFT or NAME=SOFT:HARD, e.g. nofile=1024:4096".into());
    };
    let Some((_, resource)) = LIMITS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = LIMITS.iter().map(|(name, _)| *name).collect();
        return Err(format!("limit {name:?} does not exist; there are {}", known.join(", ")));
    };
    let wrong =
        |text: &str| format!("{text:?} is not a valid limit; write a number, or -1 for none");
    let number = |text: &str| match text.parse::<i64>() {
        Ok(-1) => Ok(u64::MAX),
        Ok(number) => u64::try_from(number).map_err(|_| wrong(text)),
        Err(_) => Err(wrong(text)),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(format!("the soft limit is above the hard one in {values:?}"));
    }
    Ok(Limit { resource: *resource, soft, hard })
}

/// `NAME=VALUE`, the name with dots or slashes.
pub(super) fn parse_sysctl(text: &str) -> Result<Sysctl, String> {
    let wrong = || {
        format!("{text:?} is not a valid setting; write NAME=VALUE, e.g. net.core.somaxconn=1024")
    };
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.split(['.', '/']).any(|part| part.is_empty() || !part.chars().all(plain)) {
        return Err(wrong());
    }
    Ok(Sysctl { name: name.to_owned(), value: value.to_owned() })
}

/// A value of `--add-host`: a name, and an address or that of dom0 on the app's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddedHost {
    name: String,
    /// `None` for Docker's `host-gateway`.
    address: Option<IpAddr>,
}

impl AddedHost {
    /// Converts it to the form of the orders; `gateway` is dom0's address on the app's network.
    pub(super) fn into_host(self, gateway: IpAddr) -> Host {
        Host { address: self.address.unwrap_or(gateway), name: self.name }
    }
}

/// Parses `NAME:ADDRESS` or `NAME=ADDRESS`.
pub(super) fn parse_host(text: &str) -> Result<AddedHost, String> {
    let wrong = || "write NAME:ADDRESS, e.g. db:10.0.0.5 or host:host-gateway".to_owned();
    // Splits at the first colon, because an IPv6 address contains colons.
    let at = text.find(['=', ':']).ok_or_else(wrong)?;
    let (name, address) = (&text[..at], text[at + 1..].trim_matches(['[', ']']));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(wrong());
    }
    let address = match address {
        "host-gateway" => None,
        address => {
            Some(address.parse().map_err(|_| format!("{address:?} is not a valid address"))?)
        }
    };
    Ok(AddedHost { name: name.to_owned(), address })
}

/// Parses `KEY=VALUE`, or only a key.
pub(super) fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("a label needs a name; write KEY=VALUE".into());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses Docker's `--storage-opt size=10G` into the size.
pub(super) fn parse_storage_opt(text: &str) -> Result<u32, String> {
    match text.split_once('=') {
        Some(("size", size)) => {
            app::request::parse_size_mib(size).map_err(|error| error.to_string())
        }
        _ => Err("only size=SIZE is supported".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_file_system_has_dockers_options_unless_others_are_given() {
        let tmpfs = parse_tmpfs("/run").unwrap();
        assert_eq!((tmpfs.path.as_str(), tmpfs.options.as_str()), ("/run", TMPFS_OPTIONS));
        let tmpfs = parse_tmpfs("/run:exec,size=64k").unwrap();
        assert!(tmpfs.options.ends_with(",exec,size=64k"), "{}", tmpfs.options);
        for text in ["", "run", "/"] {
            assert!(parse_tmpfs(text).unwrap_err().contains("mount point"), "{text:?}");
        }
        for text in ["/run:size=1 2", "/run:a/b"] {
            assert!(parse_tmpfs(text).unwrap_err().contains("mount options"), "{text:?}");
        }
    }

    #[test]
    fn a_limit_is_soft_and_hard() {
        let limit = parse_limit("nofile=1024:4096").unwrap();
        assert_eq!((limit.resource, limit.soft, limit.hard), (7, 1024, 4096));
        let limit = parse_limit("core=-1").unwrap();
        assert_eq!((limit.resource, limit.soft, limit.hard), (4, u64::MAX, u64::MAX));
        for (text, why) in [
            ("nofile", "write NAME=SOFT"),
            ("files=1", "limit \"files\" does not exist"),
            ("nofile=x", "\"x\" is not a valid limit"),
            ("nofile=-2", "\"-2\" is not a valid limit"),
            ("nofile=2:1", "the soft limit is above the hard one"),
            ("nofile=-1:5", "the soft limit is above the hard one"),
        ] {
            assert!(parse_limit(text).unwrap_err().contains(why), "{text:?}");
        }
    }

    #[test]
    fn a_host_has_an_address_or_is_this_machine() {
        let gateway = "10.107.0.1".parse().unwrap();
        let host = |text: &str| parse_host(text).unwrap().into_host(gateway).address.to_string();
        assert_eq!(host("db:10.0.0.5"), "10.0.0.5");
        assert_eq!(host("db=10.0.0.5"), "10.0.0.5");
        assert_eq!(host("db:fe80::1"), "fe80::1");
        assert_eq!(host("here:host-gateway"), "10.107.0.1");
        for text in ["", "db", ":10.0.0.5", "d b:10.0.0.5"] {
            assert!(parse_host(text).unwrap_err().contains("write NAME:ADDRESS"), "{text:?}");
        }
        for text in ["db:here", "db:10.0.0"] {
            assert!(parse_host(text).unwrap_err().contains("is not a valid address"), "{text:?}");
        }
    }

    #[test]
    fn labels_and_storage_are_as_docker_writes_them() {
        assert_eq!(parse_label("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(parse_label("a").unwrap(), ("a".into(), String::new()));
        assert!(parse_label("=x").unwrap_err().contains("a label needs a name"));
        assert_eq!(parse_storage_opt("size=1G"), Ok(1024));
        assert!(parse_storage_opt("dm.x=1").unwrap_err().contains("only size=SIZE"));
        assert!(parse_storage_opt("size=huge").unwrap_err().contains("huge"));
    }
}
