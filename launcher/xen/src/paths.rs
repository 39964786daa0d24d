//! Paths of a domain's nodes in xenstore.

use crate::DomId;
use std::fmt;

/// A domain's own nodes: `/local/domain/<domid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home(pub DomId);

impl Home {
    /// The path of the domain's node `name`, which may contain slashes.
    #[must_use]
    pub fn join(self, name: &str) -> String {
        format!("{self}/{name}")
    }
}

impl fmt::Display for Home {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/local/domain/{}", self.0)
    }
}

/// The kinds of backends that serve a domain.
pub(crate) const BACKENDS: [&str; 2] = ["vbd", "vif"];

/// Where dom0 keeps the backends of one kind, `vbd` or `vif`, that serve a domain.
#[must_use]
pub fn backends(domid: DomId, kind: &str) -> String {
    Home(DomId::DOM0).join(&format!("backend/{kind}/{domid}"))
}

/// The path of libxl's notes about a domain, which the guest cannot write.
pub(crate) fn libxl(domid: DomId) -> String {
    format!("/libxl/{domid}")
}

/// The path of the nodes that do not change when a domain's number changes.
pub(crate) fn vm(uuid: &[u8; 16]) -> String {
    format!("/vm/{}", render_uuid(uuid))
}

/// The UUID as in `xl list -v`: five groups of lower-case hexadecimal digits.
pub(crate) fn render_uuid(uuid: &[u8; 16]) -> String {
    uuid::Uuid::from_bytes(*uuid).hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_rendered_as_xl_does() {
        assert_eq!(vm(b"0123456789abcdef"), "/vm/30313233-3435-3637-3839-616263646566");
    }

    #[test]
    fn backends_of_a_domain_are_below_dom0s_home() {
        assert_eq!(backends(DomId(7), "vbd"), "/local/domain/0/backend/vbd/7");
        assert_eq!(Home(DomId(7)).join("console/tty"), "/local/domain/7/console/tty");
    }
}
