//! Permissions: which domains may read and write a node.

use super::wire::WireError;
use crate::DomId;

/// A domain's access to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Neither read nor write.
    None,
    /// Read only.
    Read,
    /// Write only.
    Write,
    /// Read and write.
    Both,
}

/// One entry of a node's permissions.
///
/// The first entry names the owner, who has full access, and gives the access of every domain without an entry. Dom0
/// always has full access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The domain.
    pub domid: DomId,
    /// Its access; in the first entry, the access of all other domains.
    pub access: Access,
}

impl Permission {
    /// Gives `access` to `domid`.
    #[must_use]
    pub fn new(domid: DomId, access: Access) -> Self {
        Self { domid, access }
    }

    fn render(self) -> String {
        let letter = match self.access {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::Both => 'b',
        };
        format!("{letter}{}", self.domid)
    }

    /// The list in the form that `XS_SET_PERMS` takes.
    pub(crate) fn render_list(list: &[Self]) -> String {
        list.iter().map(|entry| entry.render() + "\0").collect()
    }

    pub(crate) fn parse(text: &str) -> Result<Self, WireError> {
        let mut rest = text.chars();
        let access = match rest.next() {
            Some('n') => Access::None,
            Some('r') => Access::Read,
            Some('w') => Access::Write,
            Some('b') => Access::Both,
            _ => return Err(WireError::NotAPermission),
        };
        // Not parsed as `DomId`: destroyed domains leave entries with reserved numbers.
        let domid = rest.as_str().parse().map_err(|_| WireError::NotAPermission)?;
        Ok(Self { domid: DomId(domid), access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_survive_rendering_and_parsing() {
        for access in [Access::None, Access::Read, Access::Write, Access::Both] {
            let permission = Permission::new(DomId(7), access);
            assert_eq!(Permission::parse(&permission.render()), Ok(permission));
        }
        for text in ["", "x1", "r", "r-1", "r99999", "1"] {
            assert_eq!(Permission::parse(text), Err(WireError::NotAPermission), "{text:?}");
        }
    }
}
