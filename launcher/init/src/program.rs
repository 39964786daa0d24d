//! The app's program: arguments, environment, and where to look for the file to run.

use crate::failure::{Failure, OrFail, cause};
use crate::user::{self, User};
use contract::{Limit, Process};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Docker's `PATH` for images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that is needed to run the app.
#[derive(Debug)]
pub struct Program {
    /// What to run, where it is open already.
    pub file: Option<OwnedFd>,
    /// Files to try otherwise, in order.
    pub candidates: Vec<CString>,
    /// Arguments, the program's name first.
    pub args: Vec<CString>,
    /// `NAME=value` each, no name twice.
    pub env: Vec<CString>,
    /// Working directory.
    pub cwd: CString,
    /// Whom it runs as.
    pub user: User,
    /// Limits of its processes that differ from init's own.
    pub limits: Vec<Limit>,
    /// The name that was asked for.
    name: String,
    /// `PATH` as the app sees it.
    path: String,
}

impl Program {
    /// Works out what to run from the image's settings.
    ///
    /// # Errors
    /// No arguments, or a NUL in one of the strings.
    pub fn prepare(process: &Process, hostname: &str, user: User) -> Result<Self, Failure> {
        let Some(name) = process.args.first() else {
            return Err(Failure::set_up("no command: the image has neither entrypoint nor cmd"));
        };
        let env = environment(&process.env, hostname, &user.home);
        let path = value(&env, "PATH").unwrap_or_default().to_owned();
        let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
        Ok(Self {
            file: None,
            candidates: strings("PATH", candidates(name, &path))?,
            args: strings("an argument", process.args.iter().cloned())?,
            env: strings("the environment", env)?,
            cwd: strings("the working directory", [cwd.to_owned()])?.remove(0),
            user,
            limits: process.limits.clone(),
            name: name.clone(),
            path,
        })
    }

    /// Why the program cannot be run: `errno` came from the candidate number `tried`, or none of
    /// them exists.
    #[must_use]
    pub fn explain(&self, errno: Errno, tried: Option<usize>) -> Failure {
        let file = tried.and_then(|index| self.candidates.get(index)).map(|path| self.locate(path));
        let shown = file.as_deref().map_or(self.name.clone(), |path| path.display().to_string());
        let is_dir = file.as_deref().is_some_and(Path::is_dir);
        match errno {
            Errno::NOENT | Errno::NOTDIR => self.explain_missing(),
            // A folder of that name in PATH is not what the search meant.
            Errno::ACCESS if is_dir && !self.name.contains('/') => self.explain_missing(),
            Errno::ACCESS if is_dir => {
                Failure::not_executable(format!("cannot run {shown}: it is a directory"))
            }
            Errno::ACCESS => {
                let uid = self.user.uid;
                Failure::not_executable(format!(
                    "cannot run {shown}: permission denied for user {uid}; is it executable?"
                ))
            }
            Errno::NOEXEC => Failure::not_executable(format!(
                "cannot run {shown}: exec format error; it is not a program for this machine"
            )),
            other => Failure::not_executable(format!("cannot run {shown}: {}", cause(other))),
        }
    }

    /// The name that was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its name is one of systemd's; tells without a look at any file.
    #[must_use]
    pub fn may_be_systemd(&self) -> bool {
        self.name.ends_with("init") || self.name.ends_with("systemd")
    }

    /// The files that may be meant, in order.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.candidates.iter().map(|path| self.locate(path))
    }

    fn explain_missing(&self) -> Failure {
        if let Some(file) = self.files().find(|file| file.is_file()) {
            return Failure::not_found(format!(
                "cannot run {}: the interpreter or loader that it names is not in the image",
                file.display()
            ));
        }
        let Self { name, path, .. } = self;
        Failure::not_found(if name.contains('/') {
            format!("cannot run {name}: no such file in the image")
        } else {
            format!("cannot run '{name}': executable file not found in PATH ({path})")
        })
    }

    fn locate(&self, candidate: &CString) -> PathBuf {
        let as_path = |text: &CString| PathBuf::from(std::ffi::OsStr::from_bytes(text.as_bytes()));
        as_path(&self.cwd).join(as_path(candidate))
    }
}

/// Works out what to run, from a process's description and the image's user database.
///
/// # Errors
/// No such user, or no command.
pub fn find(process: &Process, hostname: &str) -> Result<Program, Failure> {
    let read = |path| user::read_database(path).or_fail(|| format!("read the image's {path}"));
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    let user = user::resolve(&process.user, &passwd, &group)
        .map_err(|error| Failure::from_error(&error))?;
    Program::prepare(process, hostname, user)
}

/// This program itself. The app's `/proc` does not show it, and its root has no file of it.
///
/// # Errors
/// This process's own `/proc` is not mounted.
pub fn own() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    open("/proc/self/exe", flags, Mode::empty()).or_fail(|| "open init's own program".into())
}

fn strings(what: &str, texts: impl IntoIterator<Item = String>) -> Result<Vec<CString>, Failure> {
    let to_c = |text: String| {
        CString::new(text).map_err(|_| Failure::set_up(format!("{what} contains a NUL character")))
    };
    texts.into_iter().map(to_c).collect()
}

/// The files that `name` may mean: itself where it has a slash, else one in each folder of
/// `path`.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    if name.is_empty() || path.is_empty() {
        return Vec::new();
    }
    let folder = |folder: &str| match folder {
        "" => format!("./{name}"),
        folder => format!("{}/{name}", folder.trim_end_matches('/')),
    };
    path.split(':').map(folder).collect()
}

/// The image's environment with what Docker adds: `PATH`, `HOSTNAME`, `HOME`.
///
/// Of two values for one name the last counts, as in Docker.
fn environment(image: &[String], hostname: &str, home: &str) -> Vec<String> {
    let mut env: Vec<String> = Vec::with_capacity(image.len() + 3);
    // Where each name is: there may be tens of thousands.
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in image {
        match places.entry(name_of(entry)) {
            Entry::Occupied(place) => env[*place.get()].clone_from(entry),
            Entry::Vacant(place) => {
                place.insert(env.len());
                env.push(entry.clone());
            }
        }
    }
    let home = if home.is_empty() { "/" } else { home };
    for (name, default) in [("PATH", DEFAULT_PATH), ("HOSTNAME", hostname), ("HOME", home)] {
        if value(&env, name).is_none() {
            env.push(format!("{name}={default}"));
        }
    }
    env
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

fn value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn docker_adds_path_hostname_and_home_only_where_they_are_missing() {
        let env = environment(&owned(&["A=1", "HOME=/x"]), "web", "/root");
        let expected = ["A=1", "HOME=/x", &format!("PATH={DEFAULT_PATH}"), "HOSTNAME=web"];
        assert_eq!(env, expected);
        assert!(environment(&[], "web", "").contains(&"HOME=/".to_owned()));
    }

    #[test]
    fn the_last_of_two_values_counts() {
        let env = environment(&owned(&["A=1", "B=2", "A=3", "PATH=/bin"]), "web", "/");
        assert_eq!(env, ["A=3", "B=2", "PATH=/bin", "HOSTNAME=web", "HOME=/"]);
    }

    #[test]
    fn a_name_with_a_slash_is_not_searched_for() {
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
        assert_eq!(candidates("/run", "/bin"), ["/run"]);
        assert_eq!(
            candidates("run", "/bin:/usr/bin/::x"),
            ["/bin/run", "/usr/bin/run", "./run", "x/run"]
        );
        assert!(candidates("", "/bin").is_empty());
        assert!(candidates("run", "").is_empty());
    }

    #[test]
    fn a_nul_or_an_empty_command_is_refused() {
        let user = || crate::user::resolve("", "", "").unwrap();
        let mut process = Process::default();
        assert!(
            Program::prepare(&process, "h", user()).unwrap_err().message.contains("no command")
        );
        process.args = owned(&["a\0b"]);
        assert_eq!(Program::prepare(&process, "h", user()).unwrap_err().code, 125);
    }
}
