//! The app's user, looked up in the image's own `/etc/passwd` and `/etc/group`.
//!
//! The rules are those of Docker and runc (`GetExecUser`): a name wins over a number, a number
//! needs no entry, the first entry that fits counts.

use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::{self, Read};

/// The largest ID that images may name, as runc has it.
const MAX_ID: u32 = i32::MAX as u32;
/// The most of `/etc/passwd` or `/etc/group` that is read.
const MAX_BYTES: u64 = 4 << 20;

/// Whom the app runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups; the primary one is always among them.
    pub groups: Vec<u32>,
    /// Home directory; `/` if the database has no entry.
    pub home: String,
}

/// Why there is no such user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No entry has this name.
    #[error("unable to find {kind} {name}: no matching entries in {file}")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A number beyond what the kernel's interfaces take.
    #[error("{kind} ID {id} is out of range: at most {MAX_ID}")]
    Range {
        /// `user` or `group`.
        kind: &'static str,
        /// The number as written.
        id: String,
    },
}

/// Looks up `spec` (`""`, `user`, `uid`, `user:group`, …) in the contents of the two files.
///
/// # Errors
/// A name without an entry, or a number out of range.
pub fn resolve(spec: &str, passwd: &str, group: &str) -> Result<User, UserError> {
    let (user, group_name) = spec.split_once(':').unwrap_or((spec, ""));
    let wanted_uid = number("user", if user.is_empty() { "0" } else { user })?;
    let entry = passwd
        .lines()
        .filter_map(PasswdEntry::parse)
        .find(|entry| entry.name == user || Some(entry.uid) == wanted_uid);
    let (name, mut found) = match (entry, wanted_uid) {
        (Some(PasswdEntry { name, uid, gid, home }), _) => {
            (name, User { uid, gid, groups: vec![], home: home.to_owned() })
        }
        (None, Some(uid)) => ("", User { uid, gid: 0, groups: vec![], home: "/".into() }),
        (None, None) => {
            return Err(UserError::Unknown {
                kind: "user",
                name: user.to_owned(),
                file: "/etc/passwd",
            });
        }
    };
    let mut groups = Vec::new();
    if group_name.is_empty() {
        let member = group.lines().filter_map(GroupEntry::parse);
        groups.extend(member.filter(|entry| entry.has_member(name)).map(|entry| entry.gid));
    } else {
        found.gid = resolve_group(group_name, group)?;
    }
    groups.insert(0, found.gid);
    let mut distinct = Vec::with_capacity(groups.len());
    for gid in groups {
        if !distinct.contains(&gid) {
            distinct.push(gid);
        }
    }
    found.groups = distinct;
    Ok(found)
}

fn resolve_group(name: &str, group: &str) -> Result<u32, UserError> {
    let wanted_gid = number("group", name)?;
    let mut entries = group.lines().filter_map(GroupEntry::parse);
    let entry = entries.find(|entry| entry.name == name || Some(entry.gid) == wanted_gid);
    entry.map(|entry| entry.gid).or(wanted_gid).ok_or_else(|| UserError::Unknown {
        kind: "group",
        name: name.to_owned(),
        file: "/etc/group",
    })
}

/// `text` as an ID; `None` if it is a name.
fn number(kind: &'static str, text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(UserError::Range { kind, id: text.to_owned() }),
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    /// `name:password:uid:gid:comment:home:shell`; `None` for a line that is not an entry.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Self { name, uid, gid, home })
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    /// `name:password:gid:member,member`; `None` for a line that is not an entry.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(Self { name, gid, members: fields.next().unwrap_or_default() })
    }

    fn has_member(&self, name: &str) -> bool {
        !name.is_empty() && self.members.split(',').any(|member| member.trim() == name)
    }
}

fn id(field: &str) -> Option<u32> {
    field.parse().ok().filter(|id| *id <= MAX_ID)
}

/// Reads a user database of the image; empty if there is none.
///
/// The file may be anything in a hostile image, so only a regular file is read, and only its
/// first 4 MiB.
///
/// # Errors
/// The file is there but cannot be read.
pub fn read_database(path: &str) -> io::Result<String> {
    // Without O_NONBLOCK a fifo of this name would block the start for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # a comment: with: colons:\n\
        www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
        1000:x:7:7::/seven:/bin/sh\n\
        broken:x:notanumber:1::/:\n\
        app:x:1000:1000::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:\ntls:x:101:app,www-data\nadm:x:4: app\n";

    fn user(spec: &str) -> Result<User, UserError> {
        resolve(spec, PASSWD, GROUP)
    }

    #[test]
    fn no_user_is_root_with_roots_home() {
        let root = User { uid: 0, gid: 0, groups: vec![0], home: "/root".into() };
        assert_eq!(user("").unwrap(), root);
        assert_eq!(user("0").unwrap(), root);
        assert_eq!(user("root").unwrap(), root);
    }

    #[test]
    fn a_named_user_gets_the_groups_that_list_it() {
        let app =
            User { uid: 1000, gid: 1000, groups: vec![1000, 101, 4], home: "/home/app".into() };
        assert_eq!(user("app").unwrap(), app);
    }

    #[test]
    fn a_name_of_digits_is_a_name_where_an_entry_comes_first() {
        assert_eq!(user("1000").unwrap().uid, 7);
    }

    #[test]
    fn a_group_that_is_given_replaces_the_users_groups() {
        let user = user("app:tls").unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (1000, 101, vec![101]));
    }

    #[test]
    fn numbers_need_no_files() {
        let user = resolve("1234:5678", "", "").unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (1234, 5678, "/"));
        let alone = resolve("1234", "", "").unwrap();
        assert_eq!((alone.uid, alone.gid, alone.groups), (1234, 0, vec![0]));
        assert_eq!(resolve("", "", "").unwrap().home, "/");
    }

    #[test]
    fn an_unknown_name_is_named_as_docker_does() {
        let error = user("nobody2").unwrap_err().to_string();
        assert_eq!(error, "unable to find user nobody2: no matching entries in /etc/passwd");
        let error = user("root:wheel").unwrap_err().to_string();
        assert_eq!(error, "unable to find group wheel: no matching entries in /etc/group");
        let error = user("broken").unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
    }

    #[test]
    fn an_id_beyond_31_bits_is_out_of_range() {
        assert!(matches!(user("2147483648"), Err(UserError::Range { kind: "user", .. })));
        assert!(matches!(user("0:99999999999"), Err(UserError::Range { kind: "group", .. })));
        assert_eq!(user("2147483647").unwrap().uid, 2_147_483_647);
    }

    #[test]
    fn a_fifo_as_passwd_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        let file_type = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, file_type, Mode::RUSR, 0).unwrap();
        assert_eq!(read_database(path.to_str().unwrap()).unwrap(), "");
        assert_eq!(read_database(dir.path().join("none").to_str().unwrap()).unwrap(), "");
    }
}
