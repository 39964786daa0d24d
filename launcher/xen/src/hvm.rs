//! Operations for PVH domains only: parameters, and processor state as saved records.

use crate::error::XenError;
use crate::{DomId, Hypervisor};
use rustix::io::Errno;
use xen_sys::{domctl, hvm, hypercall};
use zerocopy::FromZeros;

/// The longest saved state to read; Xen's has a few KiB for each vcpu.
const MAX_CONTEXT_BYTES: u32 = 8 << 20;

impl Hypervisor {
    /// Sets one of Xen's parameters for PVH and HVM domains (`HVM_PARAM_…`).
    pub(crate) fn set_param(&self, domid: DomId, index: u32, value: u64) -> Result<(), XenError> {
        let mut argument = hvm::Param { domid: domid.0, pad: 0, index, value };
        // SAFETY: the argument contains no addresses of this process; a value that is an address belongs to the guest.
        unsafe {
            self.call.invoke(hypercall::HVM_OP, &mut argument, |address| {
                [hvm::SET_PARAM, address, 0, 0, 0]
            })
        }
        .map(drop)
        .map_err(|errno| {
            XenError::refused(format!("set parameter {index} of domain {domid}"), errno)
        })
    }

    /// Reads the domain's whole saved state.
    pub(crate) fn hvm_context(&self, domid: DomId) -> Result<Vec<u8>, XenError> {
        let failed =
            |errno| XenError::refused(format!("read domain {domid}'s processor state"), errno);
        let ask = domctl::HvmContext::new_zeroed();
        // SAFETY: without a buffer Xen returns only the size.
        let size = unsafe { self.domctl(domctl::GETHVMCONTEXT, domid, &ask) }.map_err(failed)?.size;
        if size > MAX_CONTEXT_BYTES {
            return Err(failed(Errno::TOOBIG));
        }
        let buffer = self.call.buffer(size as usize)?;
        let ask = domctl::HvmContext { size, pad: 0, buffer: buffer.address() };
        // SAFETY: the buffer outlives the call and has at least `size` bytes.
        let got = unsafe { self.domctl(domctl::GETHVMCONTEXT, domid, &ask) }.map_err(failed)?;
        let filled = buffer.as_bytes().get(..got.size as usize);
        Ok(filled.ok_or_else(|| failed(Errno::OVERFLOW))?.to_vec())
    }

    /// Loads saved state; vcpus without a processor record stay offline.
    pub(crate) fn set_hvm_context(&self, domid: DomId, context: &[u8]) -> Result<(), XenError> {
        let mut buffer = self.call.buffer(context.len())?;
        buffer.as_bytes_mut()[..context.len()].copy_from_slice(context);
        let size = u32::try_from(context.len()).unwrap_or(u32::MAX);
        let payload = domctl::HvmContext { size, pad: 0, buffer: buffer.address() };
        // SAFETY: the buffer outlives the call and has at least `size` bytes.
        unsafe { self.domctl(domctl::SETHVMCONTEXT, domid, &payload) }.map(drop).map_err(|errno| {
            XenError::refused(format!("set domain {domid}'s processor state"), errno)
        })
    }
}
