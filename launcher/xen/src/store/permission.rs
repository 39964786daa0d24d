//! Who may read and write a node.

use super::wire::WireError;
use crate::DomId;

/// What a domain may do with a node.
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
/// The first entry names the owner, who may do everything, and what every domain without an
/// entry of its own may do. Dom0 may always do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Who.
    pub domid: DomId,
    /// What; in the first entry: what all others may do.
    pub access: Access,
}

impl Permission {
    /// `access` for `domid`.
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

    /// As `XS_SET_PERMS` takes a list.
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
        // Not DomId's own parser: dead domains leave entries under reserved numbers too.
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
