//! Grant tables: the entries a guest finds there at its start.

use crate::error::XenError;
use crate::{DomId, Hypervisor};
use xen_sys::grant_table;

impl Hypervisor {
    /// Grants dom0 a new domain's console and xenstore pages, as Xen's tools do: both are guest
    /// frame numbers (for PV: machine frame numbers).
    pub(crate) fn seed_grants(
        &self,
        domid: DomId,
        console_gfn: u64,
        store_gfn: u64,
    ) -> Result<(), XenError> {
        let mut table = self.map_grant_table(domid)?;
        let rings = [
            (grant_table::RESERVED_CONSOLE, console_gfn),
            (grant_table::RESERVED_XENSTORE, store_gfn),
        ];
        for (index, gfn) in rings {
            // An entry of version 1 has 32 bits for the frame: 16 TiB.
            let frame = u32::try_from(gfn).map_err(|_| XenError::Nonsense {
                action: format!("grant domain {domid}'s rings to dom0"),
                what: "a frame beyond 16 TiB",
            })?;
            let domid = DomId::DOM0.0;
            let entry = grant_table::EntryV1 { flags: grant_table::PERMIT_ACCESS, domid, frame };
            table.write_plain(index * size_of_val(&entry), &entry);
        }
        Ok(())
    }
}
