//! Certificates that the user or the administrator names, in PEM.
//!
//! The launcher reads them: the child that fetches can open few files, and no private keys.

use crate::{
    failure::plain,
    reference::{DEFAULT_REGISTRY, Reference},
    settings::Settings,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Longest file taken; a bundle of all public authorities has 250 KB.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Where Docker and podman keep what belongs to one registry.
const FOLDERS: &[&str] = &["/etc/docker/certs.d", "/etc/containers/certs.d"];
/// The same below the user's home.
const HOME_FOLDERS: &[&str] = &[".config/docker/certs.d", ".config/containers/certs.d"];

/// All certificates for one fetch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Certificates {
    /// Trusted for every host.
    pub(crate) named: Vec<PemFile>,
    /// The system's own are trusted, too.
    pub(crate) and_systems: bool,
    /// By the registry's or mirror's `HOST[:PORT]`.
    pub(crate) hosts: BTreeMap<String, HostCertificates>,
}

/// What belongs to one registry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HostCertificates {
    /// Trusted besides the usual ones.
    pub(crate) authorities: Vec<PemFile>,
    pub(crate) client: Option<ClientCertificate>,
}

/// Shown to a registry that asks for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClientCertificate {
    pub(crate) chain: PemFile,
    pub(crate) key: PemFile,
}

/// A file's path, for messages, and what is in it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PemFile {
    pub(crate) path: String,
    pub(crate) pem: String,
}

impl std::fmt::Debug for PemFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PemFile({})", self.path)
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read certificates from {path}: {cause}")]
pub(crate) struct CertificatesError {
    pub(crate) path: String,
    pub(crate) cause: String,
}

/// The certificates for every host that `reference` may be fetched from.
pub(crate) fn find(
    reference: &Reference,
    settings: &Settings,
) -> Result<Certificates, CertificatesError> {
    let file = std::env::var_os("SSL_CERT_FILE").filter(|value| !value.is_empty());
    let folders = std::env::var_os("SSL_CERT_DIR").filter(|value| !value.is_empty());
    let (mut named, mut and_systems) = (Vec::new(), true);
    if let Some(path) = settings.certificates.clone().or(file.map(PathBuf::from)) {
        named.push(PemFile::read(&path)?);
        and_systems = false;
    }
    if settings.certificates.is_none() {
        for folder in folders.iter().flat_map(std::env::split_paths) {
            named.extend(certificates_in(&folder)?);
        }
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let homes = home.iter().flat_map(|home| HOME_FOLDERS.iter().map(|path| home.join(path)));
    let folders: Vec<PathBuf> = homes.chain(FOLDERS.iter().map(PathBuf::from)).collect();
    let mut hosts = BTreeMap::new();
    for (host, _) in settings.places_of(reference) {
        let own = HostCertificates::read(host, &folders)?;
        hosts.insert(host.to_owned(), own);
    }
    Ok(Certificates { named, and_systems, hosts })
}

impl HostCertificates {
    /// Reads `FOLDER/HOST[:PORT]`, as Docker does: authorities end in `.crt`, a client's certificate in `.cert`,
    /// and its key has the same name with `.key`.
    fn read(host: &str, folders: &[PathBuf]) -> Result<Self, CertificatesError> {
        // Docker Hub's registry answers elsewhere than at its name.
        let names = match host {
            DEFAULT_REGISTRY => &[host, "registry-1.docker.io"][..],
            _ => &[host],
        };
        let mut own = Self::default();
        for folder in folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))) {
            for path in sorted_files(&folder)? {
                let end = path.extension().and_then(OsStr::to_str);
                if end == Some("crt") {
                    own.authorities.push(PemFile::read(&path)?);
                }
                let (other, what) = match end {
                    Some("cert") => ("key", "the private key"),
                    Some("key") => ("cert", "the certificate"),
                    _ => continue,
                };
                let other = path.with_extension(other);
                if !other.exists() {
                    let cause = format!("{what} {} that belongs to it is missing", other.display());
                    return Err(CertificatesError { path: path.display().to_string(), cause });
                }
                if end == Some("cert") && own.client.is_none() {
                    let (chain, key) = (PemFile::read(&path)?, PemFile::read(&other)?);
                    own.client = Some(ClientCertificate { chain, key });
                }
            }
        }
        Ok(own)
    }
}

impl PemFile {
    pub(crate) fn read(path: &Path) -> Result<Self, CertificatesError> {
        let error = |cause: String| CertificatesError { path: path.display().to_string(), cause };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|source| error(plain(&source)))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(error(format!("it is longer than {MAX_FILE_BYTES} bytes")));
        }
        // Comments between certificates may be in any encoding.
        let pem = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self { path: path.display().to_string(), pem })
    }
}

/// The files of a folder that have certificates, as OpenSSL's `SSL_CERT_DIR` has them among others.
fn certificates_in(folder: &Path) -> Result<Vec<PemFile>, CertificatesError> {
    let files = sorted_files(folder)?.into_iter().filter(|path| path.is_file());
    let files = files.map(|path| PemFile::read(&path)).collect::<Result<Vec<_>, _>>()?;
    Ok(files.into_iter().filter(|file| file.pem.contains("-----BEGIN CERTIFICATE-----")).collect())
}

/// What is in a folder, by name; nothing if it is not there.
fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>, CertificatesError> {
    let error = |source: io::Error| CertificatesError {
        path: folder.display().to_string(),
        cause: plain(&source),
    };
    let entries = match fs::read_dir(folder) {
        Err(missing)
            if matches!(missing.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        entries => entries.map_err(error)?,
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(error)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certs_d(files: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let top = tempfile::tempdir().unwrap();
        let host = top.path().join("reg.example:5000");
        fs::create_dir(&host).unwrap();
        for name in files {
            fs::write(host.join(name), *name).unwrap();
        }
        let folders = vec![top.path().join("missing"), top.path().to_owned()];
        (top, folders)
    }

    #[test]
    fn a_registrys_folder_has_authorities_and_a_client_certificate() {
        let (_top, folders) = certs_d(&["ca.crt", "b.crt", "client.cert", "client.key", "README"]);
        let own = HostCertificates::read("reg.example:5000", &folders).unwrap();
        let authorities: Vec<_> = own.authorities.iter().map(|file| file.pem.as_str()).collect();
        assert_eq!(authorities, ["b.crt", "ca.crt"]);
        let client = own.client.unwrap();
        assert_eq!(
            (client.chain.pem.as_str(), client.key.pem.as_str()),
            ("client.cert", "client.key")
        );
        let other = HostCertificates::read("reg.example", &folders).unwrap();
        assert!(other.authorities.is_empty() && other.client.is_none());
    }

    #[test]
    fn half_of_a_client_certificate_is_told_with_the_file_that_is_missing() {
        for (there, missing) in [("client.cert", "client.key"), ("client.key", "client.cert")] {
            let (_top, folders) = certs_d(&[there]);
            let error = HostCertificates::read("reg.example:5000", &folders).unwrap_err();
            assert!(error.path.ends_with(there), "{error}");
            assert!(error.cause.contains(missing), "{error}");
        }
    }

    #[test]
    fn of_a_folder_of_certificates_only_these_are_taken() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("a.pem"), "-----BEGIN CERTIFICATE-----").unwrap();
        fs::write(top.path().join("java.jks"), [0xfe, 0xed]).unwrap();
        fs::create_dir(top.path().join("java")).unwrap();
        assert_eq!(certificates_in(top.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_key_is_not_shown() {
        let file = PemFile { path: "a.key".to_owned(), pem: "secret".to_owned() };
        assert_eq!(format!("{file:?}"), "PemFile(a.key)");
    }
}
