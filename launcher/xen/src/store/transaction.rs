//! Transactions: changes that become visible all at once, or not at all.

use super::batch::Batch;
use super::error::{Refusal, StoreError};
use super::link::Link;
use super::permission::Permission;
use super::request::check_path;
use super::wire::{self, Kind, WireError};

/// An open transaction, with the operations of [`super::Store`]. Other clients see its changes only after
/// [`Transaction::commit`]. Dropping it undoes them.
#[derive(Debug)]
pub struct Transaction<'a> {
    link: &'a Link,
    /// 0 outside of any transaction.
    id: u32,
}

impl<'a> Transaction<'a> {
    /// Operations outside of a transaction, each by itself.
    pub(super) fn none(link: &'a Link) -> Self {
        Self { link, id: 0 }
    }

    pub(super) fn start(link: &'a Link) -> Result<Self, StoreError> {
        let reply = link.exchange(Kind::TransactionStart, 0, "", &[b"\0"])?;
        match wire::one_string(&reply)?.parse() {
            Ok(id) if id != 0 => Ok(Self { link, id }),
            _ => Err(WireError::NotANumber.into()),
        }
    }

    /// Makes all changes visible.
    ///
    /// # Errors
    /// [`super::Refusal::Conflict`] if another client changed a node that this transaction read or wrote. Nothing has
    /// changed then; start over. [`super::Store::transaction`] does that automatically.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let id = std::mem::take(&mut self.id);
        self.link.exchange(Kind::TransactionEnd, id, "", &[b"T\0"]).map(drop)
    }

    /// See [`super::Store::read`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn read(&self, path: &str) -> Result<String, StoreError> {
        let value = self.on_node(Kind::Read, path, &[])?;
        String::from_utf8(value).map_err(|_| StoreError::NotText { path: path.to_owned() })
    }

    /// See [`super::Store::read_optional`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn read_optional(&self, path: &str) -> Result<Option<String>, StoreError> {
        match self.read(path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`super::Store::write`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn write(&self, path: &str, value: &str) -> Result<(), StoreError> {
        self.on_node(Kind::Write, path, &[value.as_bytes()]).map(drop)
    }

    /// See [`super::Store::mkdir`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        self.on_node(Kind::Mkdir, path, &[]).map(drop)
    }

    /// See [`super::Store::remove`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        match self.on_node(Kind::Rm, path, &[]) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// See [`super::Store::list`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        match self.on_node(Kind::Directory, path, &[]) {
            Ok(reply) => Ok(owned(wire::strings(&reply)?)),
            Err(error) if error.refusal() == Some(&Refusal::TooBig) => self.list_in_parts(path),
            Err(error) => Err(error),
        }
    }

    /// Lists a node whose children do not fit into one message: one part at a time, and again from the start whenever
    /// the node changes between two parts.
    fn list_in_parts(&self, path: &str) -> Result<Vec<String>, StoreError> {
        const MAX_PIECES: usize = 4096;
        let mut generation = String::new();
        let mut names: Vec<u8> = Vec::new();
        for _ in 0..MAX_PIECES {
            let offset = format!("{}\0", names.len());
            let reply = self.on_node(Kind::DirectoryPart, path, &[offset.as_bytes()])?;
            let end = reply.iter().position(|byte| *byte == 0).ok_or(WireError::Unterminated)?;
            let (found, rest) = (wire::one_string(&reply[..=end])?, &reply[end + 1..]);
            if names.is_empty() {
                found.clone_into(&mut generation);
            } else if generation != found {
                names.clear();
                continue;
            }
            names.extend_from_slice(rest);
            // The list ends with an empty name.
            if names.len() <= 1 || names.ends_with(b"\0\0") {
                names.pop();
                return Ok(owned(wire::strings(&names)?));
            }
        }
        let attempts = u32::try_from(MAX_PIECES).unwrap_or(u32::MAX);
        Err(StoreError::Contended { attempts })
    }

    /// See [`super::Store::permissions`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn permissions(&self, path: &str) -> Result<Vec<Permission>, StoreError> {
        let reply = self.on_node(Kind::GetPerms, path, &[])?;
        let parsed: Result<_, _> =
            wire::strings(&reply)?.into_iter().map(Permission::parse).collect();
        Ok(parsed?)
    }

    /// See [`super::Store::set_permissions`].
    ///
    /// # Errors
    /// Those of that method.
    pub fn set_permissions(
        &self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        let rendered = Permission::render_list(permissions);
        self.on_node(Kind::SetPerms, path, &[rendered.as_bytes()]).map(drop)
    }

    /// Collects changes to send together.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self.link, self.id)
    }

    fn on_node(&self, kind: Kind, path: &str, rest: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
        check_path(kind, path)?;
        let mut parts = vec![path.as_bytes(), b"\0"];
        parts.extend_from_slice(rest);
        self.link.exchange(kind, self.id, path, &parts)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.id != 0 {
            // If this fails, the connection has ended, and the transaction with it.
            let _ = self.link.exchange(Kind::TransactionEnd, self.id, "", &[b"F\0"]);
        }
    }
}

fn owned(strings: Vec<&str>) -> Vec<String> {
    strings.into_iter().map(str::to_owned).collect()
}
