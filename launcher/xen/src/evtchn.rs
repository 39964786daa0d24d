//! Event channels: allocating a port for another domain.

use crate::error::XenError;
use crate::{DomId, Hypervisor};
use xen_sys::{event_channel, hypercall};

impl Hypervisor {
    /// Allocates a port of `domid` that `remote` may bind to.
    pub(crate) fn allocate_port(&self, domid: DomId, remote: DomId) -> Result<u32, XenError> {
        let mut argument =
            event_channel::AllocUnbound { dom: domid.0, remote_dom: remote.0, port: 0 };
        // SAFETY: the argument has no addresses.
        let result = unsafe {
            self.call.invoke(hypercall::EVENT_CHANNEL_OP, &mut argument, |address| {
                [event_channel::ALLOC_UNBOUND, address, 0, 0, 0]
            })
        };
        match result {
            Ok(_) => Ok(argument.port),
            Err(errno) => {
                let action = format!("allocate an event channel for domain {domid}");
                Err(XenError::refused(action, errno))
            }
        }
    }
}
