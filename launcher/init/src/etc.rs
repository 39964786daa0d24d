//! `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`, as Docker writes them.
//!
//! The image may have anything at these names. Anything but a regular file is replaced, so that nothing is
//! written through a link, into a fifo or onto a device.

use crate::failure::{Failure, OrFail};
use contract::{Host, Network, Orders};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Writes the three files under `root`.
///
/// # Errors
/// `/etc` or one of the files cannot be written.
pub fn write_all(root: BorrowedFd<'_>, orders: &Orders) -> Result<(), Failure> {
    let Orders { hostname, network, hosts, .. } = orders;
    let etc = open_etc(root)?;
    replace(&etc, "hostname", &format!("{hostname}\n"))?;
    replace(&etc, "hosts", &render_hosts(hostname, network.as_ref(), hosts))?;
    match network {
        // Without name servers the image's own file is as good as any.
        Some(network) if !network.dns.is_empty() => {
            replace(&etc, "resolv.conf", &render_resolv_conf(network))
        }
        _ => Ok(()),
    }
}

fn open_etc(root: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || openat2(root, "etc", flags, Mode::empty(), ResolveFlags::IN_ROOT);
    match open() {
        Err(Errno::NOENT) => mkdirat(root, "etc", Mode::from_raw_mode(0o755)).and_then(|()| open()),
        result => result,
    }
    .or_fail(|| "open the image's /etc".into())
}

fn replace(etc: &OwnedFd, name: &str, text: &str) -> Result<(), Failure> {
    let create = match statat(etc, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(OFlags::EXCL),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            Ok(OFlags::TRUNC | OFlags::NOFOLLOW)
        }
        Ok(_) => unlinkat(etc, name, AtFlags::empty()).map(|()| OFlags::EXCL),
        Err(error) => Err(error),
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    create
        .and_then(|more| openat(etc, name, flags | more, mode))
        .map_err(std::io::Error::from)
        .and_then(|file| File::from(file).write_all(text.as_bytes()))
        .or_fail(|| format!("write /etc/{name}"))
}

/// Docker's lines, then the own address and name, then further hosts.
fn render_hosts(hostname: &str, network: Option<&Network>, hosts: &[Host]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    // Writing to a String cannot fail.
    if let Some(network) = network {
        let short = hostname.split('.').next().unwrap_or_default();
        let alias = if short.is_empty() || short == hostname { "" } else { short };
        let line = format!("{}\t{hostname} {alias}", network.address);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for Host { address, name } in hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

fn render_resolv_conf(network: &Network) -> String {
    let mut text = String::new();
    if !network.search.is_empty() {
        let _ = writeln!(text, "search {}", network.search.join(" "));
    }
    for server in &network.dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

/// Opens the root that [`write_all`] works in.
///
/// # Errors
/// It cannot be opened.
pub fn open_root(path: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).or_fail(|| format!("open {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn orders() -> Orders {
        Orders {
            hostname: "web.example".into(),
            network: Some(Network {
                address: "10.107.0.2".parse().unwrap(),
                prefix: 16,
                gateway: None,
                neighbours: vec![],
                dns: vec!["10.107.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
                search: vec!["a.example".into(), "b.example".into()],
            }),
            hosts: vec![Host { address: "10.107.0.9".parse().unwrap(), name: "db".into() }],
            ..Orders::default()
        }
    }

    fn write_in(root: &Path) -> Result<(), Failure> {
        let root = open_root(root.to_str().unwrap())?;
        write_all(root.as_fd(), &orders())
    }

    #[test]
    fn the_files_read_as_dockers_do() {
        let root = tempfile::tempdir().unwrap();
        write_in(root.path()).unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join("etc").join(name)).unwrap();
        assert_eq!(read("hostname"), "web.example\n");
        assert!(read("hosts").starts_with("127.0.0.1\tlocalhost\n"));
        assert!(read("hosts").ends_with("10.107.0.2\tweb.example web\n10.107.0.9\tdb\n"));
        let expected = "search a.example b.example\nnameserver 10.107.0.1\nnameserver fd00::1\n";
        assert_eq!(read("resolv.conf"), expected);
    }

    #[test]
    fn links_and_fifos_are_replaced_and_what_they_point_to_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        symlink(outside.path(), etc.join("hosts")).unwrap();
        symlink("../run/none", etc.join("resolv.conf")).unwrap();
        rustix::fs::mknodat(CWD, etc.join("hostname"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        write_in(root.path()).unwrap();
        for name in ["hosts", "resolv.conf", "hostname"] {
            assert!(fs::symlink_metadata(etc.join(name)).unwrap().is_file(), "{name}");
        }
        assert_eq!(fs::read(outside.path()).unwrap(), b"");
    }

    #[test]
    fn an_etc_that_links_to_the_host_stays_inside_the_root() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let inside = root.path().join(outside.path().strip_prefix("/").unwrap());
        fs::create_dir_all(&inside).unwrap();
        symlink(outside.path(), root.path().join("etc")).unwrap();
        write_in(root.path()).unwrap();
        assert!(inside.join("hosts").is_file());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_in_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/hosts/x")).unwrap();
        let error = write_in(root.path()).unwrap_err().to_string();
        assert_eq!(error, "cannot write /etc/hosts: is a directory");
    }
}
