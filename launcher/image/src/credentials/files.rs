//! The files that `docker login` and `podman login` write.

use super::account::Credentials;
use crate::{
    failure::plain,
    json::{Fields, Json, JsonError},
    reference::DEFAULT_REGISTRY,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// How Docker names its own registry in its settings.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// All hosts that are Docker Hub's.
const DOCKER_HUB_HOSTS: &[&str] = &[DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io"];
/// The variable that has a whole file, for Docker's own tools and CI.
const IN_VARIABLE: &str = "DOCKER_AUTH_CONFIG";
/// Tools write it with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One file of logins.
pub(super) struct Login {
    /// Its path, for messages.
    pub(super) name: String,
    config: DockerConfig,
}

/// Docker's client settings, as far as they are about logins; podman's `auth.json` has the same form.
#[derive(Default)]
struct DockerConfig {
    auths: Vec<(String, Entry)>,
    cred_helpers: Vec<(String, String)>,
    creds_store: String,
}

/// A login; what is absent is empty.
#[derive(Default)]
pub(super) struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// Reads all files there are, in the order in which they count: what a variable names, Docker's, podman's.
pub(super) fn read_all(
    variable: impl Fn(&str) -> Option<OsString>,
    problems: &mut Vec<String>,
) -> Vec<Login> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("HOME");
    let in_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
    let uid = rustix::process::getuid().as_raw();
    let runtime = match path("XDG_RUNTIME_DIR") {
        Some(folder) => folder.join("containers/auth.json"),
        None => PathBuf::from(format!("/run/containers/{uid}/auth.json")),
    };
    let config = path("XDG_CONFIG_HOME").or_else(|| in_home(".config"));
    let files = [
        path("REGISTRY_AUTH_FILE"),
        path("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|dir| dir.join("config.json")),
        Some(runtime),
        config.map(|dir| dir.join("containers/auth.json")),
    ];
    let mut logins = Vec::new();
    let in_variable = variable(IN_VARIABLE).filter(|json| !json.is_empty());
    if let Some(json) = in_variable {
        match parse(json.as_bytes()) {
            Ok(config) => logins.push(Login { name: IN_VARIABLE.to_owned(), config }),
            Err(cause) => problems.push(format!("cannot read logins from {IN_VARIABLE}: {cause}")),
        }
    }
    for file in files.into_iter().flatten() {
        match read(&file) {
            Ok(config) => logins
                .extend(config.map(|config| Login { name: file.display().to_string(), config })),
            Err(cause) => {
                problems.push(format!("cannot read logins from {}: {cause}", file.display()))
            }
        }
    }
    logins
}

fn read(file: &Path) -> Result<Option<DockerConfig>, String> {
    let json = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| plain(&error))?,
    };
    if json.trim_ascii().is_empty() {
        return Ok(None);
    }
    parse(&json).map(Some)
}

/// An error names the field, never its value, which may be a password.
fn parse(json: &[u8]) -> Result<DockerConfig, String> {
    let in_words = |error: JsonError| match error {
        JsonError::Syntax { place, source } => format!("it is no JSON{place}: {source}"),
        error => error.to_string(),
    };
    let json = Json::parse(json).map_err(in_words)?;
    DockerConfig::of(&json).map_err(in_words)
}

impl DockerConfig {
    fn of(json: &Json) -> Result<Self, JsonError> {
        let fields = Fields::of(json, "")?;
        let auths = fields.object("auths")?;
        let entry = |host: &str| {
            let entry = auths.object(host)?;
            let text = |name| Ok(entry.text(name)?.to_owned());
            Ok(Entry {
                auth: text("auth")?,
                username: text("username")?,
                password: text("password")?,
                identitytoken: text("identitytoken")?,
            })
        };
        let hosts = fields.names("auths")?;
        let helpers = fields.pairs("credHelpers")?.into_iter();
        Ok(Self {
            auths: hosts
                .into_iter()
                .map(|host| Ok((host.to_owned(), entry(host)?)))
                .collect::<Result<_, JsonError>>()?,
            cred_helpers: helpers.map(|(host, name)| (host.to_owned(), name.to_owned())).collect(),
            creds_store: fields.text("credsStore")?.to_owned(),
        })
    }
}

impl Login {
    /// The helper program for a host.
    pub(super) fn helper(&self, host: &str) -> Option<&str> {
        let of_host = self.config.cred_helpers.iter().filter(|(key, _)| same_registry(key, host));
        let programs = of_host.map(|(_, program)| program).chain([&self.config.creds_store]);
        programs.map(String::as_str).find(|program| !program.is_empty())
    }

    /// The entry for a repository: that of its longest path, as podman has them, else its registry's.
    pub(super) fn entry(&self, host: &str, repository: &str) -> Option<&Entry> {
        let entries = || self.config.auths.iter().filter(|(_, entry)| entry.has_login());
        let mut path = repository;
        while !path.is_empty() {
            let mut of_path =
                entries().filter(|(key, _)| path_of(key) == path && same_registry(key, host));
            if let Some((_, entry)) = of_path.next() {
                return Some(entry);
            }
            path = path.rsplit_once('/').map_or("", |(start, _)| start);
        }
        // The host's own spelling before others of the same registry.
        let exact = entries().filter(|(key, _)| key == host);
        let others =
            entries().filter(|(key, _)| path_of(key).is_empty() && same_registry(key, host));
        exact.chain(others).next().map(|(_, entry)| entry)
    }
}

impl Entry {
    fn has_login(&self) -> bool {
        [&self.auth, &self.username, &self.identitytoken].iter().any(|text| !text.is_empty())
    }

    /// The account in it, or why it has none.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, String> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            let (user, password) = (self.username.clone(), self.password.clone());
            return Ok((!user.is_empty()).then_some(Credentials::Password { user, password }));
        }
        let decoded =
            BASE64.decode(self.auth.trim()).map_err(|_| "its auth is no base64".to_owned())?;
        let decoded = String::from_utf8(decoded).map_err(|_| "its auth is no text".to_owned())?;
        let (user, password) =
            decoded.split_once(':').ok_or_else(|| "its auth is not USER:PASSWORD".to_owned())?;
        // Docker pads old entries with zero bytes.
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Credentials::Password { user: user.to_owned(), password }))
    }
}

/// The names by which helpers may know a host; Docker's comes first.
pub(super) fn names_for_helpers(host: &str) -> Vec<&str> {
    if DOCKER_HUB_HOSTS.contains(&host) { vec![DOCKER_HUB, DEFAULT_REGISTRY] } else { vec![host] }
}

fn same_registry(key: &str, host: &str) -> bool {
    let own = host_of(key);
    let is_hub = |host: &str| DOCKER_HUB_HOSTS.iter().any(|hub| hub.eq_ignore_ascii_case(host));
    own.eq_ignore_ascii_case(host) || (is_hub(own) && is_hub(host))
}

/// Keys are hosts, URLs, or hosts with a path.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The part of a registry that a key is for. URLs are those of a registry's interface, and so are `/v1` and `/v2`.
fn path_of(key: &str) -> &str {
    if key.contains("://") {
        return "";
    }
    let path = key.split_once('/').map_or("", |(_, path)| path.trim_end_matches('/'));
    if matches!(path, "v1" | "v2") { "" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(config: &str) -> Login {
        Login { name: "config.json".to_owned(), config: parse(config.as_bytes()).unwrap() }
    }

    fn account(config: &str, host: &str, repository: &str) -> Option<String> {
        let login = login(config);
        match login.entry(host, repository)?.credentials().unwrap()? {
            Credentials::Password { user, password } => Some(format!("{user}:{password}")),
            Credentials::IdentityToken(token) => Some(format!("token {token}")),
        }
    }

    #[test]
    fn entries_are_found_however_a_registry_is_spelt() {
        // "dTpw" is u:p.
        for (key, host) in [
            ("example.org", "example.org"),
            ("Example.org", "example.org"),
            ("https://example.org/v1/", "example.org"),
            ("example.org/v2/", "example.org"),
            ("http://example.org", "example.org"),
            ("example.org:5000", "example.org:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://index.docker.io/v2/", "docker.io"),
            ("index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("https://registry-1.docker.io/v2/", "docker.io"),
            ("docker.io", "registry-1.docker.io"),
        ] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
            assert_eq!(account(&config, host, "app").as_deref(), Some("u:p"), "{key}");
            assert_eq!(account(&config, "other.org", "app"), None);
        }
        let other = r#"{"auths":{"registry.hub.docker.com":{"auth":"dTpw"}}}"#;
        assert_eq!(account(other, "docker.io", "library/app"), None);
    }

    #[test]
    fn the_longest_path_of_a_repository_counts() {
        let config = r#"{"auths":{
            "reg.example/team/app":{"username":"app","password":"1"},
            "reg.example/team":{"username":"team","password":"2"},
            "reg.example":{"username":"all","password":"3"},
            "docker.io/library":{"username":"hub","password":"4"}}}"#;
        for (host, repository, wanted) in [
            ("reg.example", "team/app", Some("app:1")),
            ("reg.example", "team/app/part", Some("app:1")),
            ("reg.example", "team/application", Some("team:2")),
            ("reg.example", "teams/app", Some("all:3")),
            ("docker.io", "library/nginx", Some("hub:4")),
            ("docker.io", "other/nginx", None),
        ] {
            assert_eq!(account(config, host, repository).as_deref(), wanted, "{repository}");
        }
    }

    #[test]
    fn null_is_absent_and_empty_fields_give_way() {
        for config in [
            r#"{"auths":{"a":{"auth":"dTpw","username":"","password":""}}}"#,
            r#"{"auths":{"a":{"auth":"dTpw","email":null,"x":1}},"HttpHeaders":{"A":"b"}}"#,
            r#"{"auths":{"a":{"auth":"dTpw"},"b":null,"c":{}},"credHelpers":null,"credsStore":null}"#,
            r#"{"auths":{"a":{"auth":"","username":"u","password":"p","identitytoken":""}}}"#,
            r#"{"auths":{"a":{"auth":"dTpw"}},"credHelpers":{"a":""},"credsStore":""}"#,
            r#"{"auths":{"a":{},"https://a/v1/":{"auth":"dTpw"}},"credHelpers":{"a":null}}"#,
            r#"{"auths":{"a":{"auth":"dTpwAA=="}}}"#,
            r#"{"auths":{"a":{"auth":"dTpwAA"}}}"#,
        ] {
            assert_eq!(account(config, "a", "app").as_deref(), Some("u:p"), "{config}");
            assert_eq!(login(config).helper("a"), None, "{config}");
        }
        assert_eq!(account(r#"{"auths":null}"#, "a", "app"), None);
        let token = r#"{"auths":{"a":{"auth":"dTpw","identitytoken":"t"}}}"#;
        assert_eq!(account(token, "a", "app").as_deref(), Some("token t"));
    }

    #[test]
    fn an_entry_that_is_not_valid_says_why() {
        for (auth, cause) in [("%", "base64"), ("/w==", "text"), ("dXA=", "USER:PASSWORD")] {
            let config = format!(r#"{{"auths":{{"a":{{"auth":"{auth}"}}}}}}"#);
            let error = login(&config).entry("a", "app").unwrap().credentials().unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn a_helper_of_the_host_comes_before_the_one_for_all() {
        let config = r#"{"credHelpers":{"https://index.docker.io/v1/":"hub"},"credsStore":"all"}"#;
        assert_eq!(login(config).helper("docker.io"), Some("hub"));
        assert_eq!(login(config).helper("reg.example"), Some("all"));
        assert_eq!(names_for_helpers("docker.io"), ["https://index.docker.io/v1/", "docker.io"]);
    }

    #[test]
    fn a_field_of_another_type_is_told_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, r#"{"auths":{"a":"secret"}}"#).unwrap();
        let error = read(&file).err().unwrap();
        assert!(error == "auths.a is a text, not an object", "{error}");
    }

    #[test]
    fn files_of_docker_and_podman_are_read_and_broken_ones_are_told() {
        let top = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("home/.docker/config.json", r#"{"auths":{"x":{"auth":"dTpw"}},}"#);
        write("home/.config/containers/auth.json", r#"{"auths":{}}"#);
        write("run/containers/auth.json", r#"{"auths":{}}"#);
        write("named.json", "\u{feff}{}");
        let variables =
            [("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("REGISTRY_AUTH_FILE", "named.json")];
        let mut problems = Vec::new();
        let logins = read_all(
            |name| {
                if name == IN_VARIABLE {
                    return Some("null".into());
                }
                let (_, path) = variables.iter().find(|(own, _)| *own == name)?;
                Some(top.path().join(path).into())
            },
            &mut problems,
        );
        let mut names: Vec<_> = logins.iter().map(|login| login.name.as_str()).collect();
        assert_eq!(names.remove(0), IN_VARIABLE);
        assert!(names[0].ends_with("run/containers/auth.json"), "{names:?}");
        assert!(names[1].ends_with("home/.config/containers/auth.json"), "{names:?}");
        assert_eq!((names.len(), problems.len()), (2, 2), "{problems:?}");
        assert!(problems[0].contains("named.json: it is no JSON"), "{problems:?}");
        assert!(problems[1].contains("config.json: it is no JSON"), "{problems:?}");
    }
}
