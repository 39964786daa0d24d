//! Operations for PV domains only: the hypercall page, page tables that Xen checks, registers.

use crate::error::XenError;
use crate::{DomId, Hypervisor};
use xen_sys::{domctl, hypercall, pv};

impl Hypervisor {
    /// Makes Xen fill a page of the domain, machine frame `mfn`, with hypercall entries.
    pub(crate) fn init_hypercall_page(&self, domid: DomId, mfn: u64) -> Result<(), XenError> {
        let payload = domctl::HypercallInit { gmfn: mfn };
        // SAFETY: no addresses in this argument.
        unsafe { self.domctl(domctl::HYPERCALL_INIT, domid, &payload) }.map(drop).map_err(|errno| {
            XenError::refused(format!("fill domain {domid}'s hypercall page"), errno)
        })
    }

    /// Makes Xen check and pin the domain's page tables, whose root is machine frame `mfn`.
    pub(crate) fn pin_page_tables(&self, domid: DomId, mfn: u64) -> Result<(), XenError> {
        let mut argument = pv::MmuextOp { cmd: pv::MMUEXT_PIN_L4_TABLE, pad: 0, mfn, arg2: 0 };
        // SAFETY: the argument, one operation, contains no addresses; the call does not request the number of completed
        // operations.
        unsafe {
            self.call.invoke(hypercall::MMUEXT_OP, &mut argument, |address| {
                [address, 1, 0, u64::from(domid.0), 0]
            })
        }
        .map(drop)
        .map_err(|errno| XenError::refused(format!("pin domain {domid}'s page tables"), errno))
    }

    /// Sets the first registers of vcpu 0.
    pub(crate) fn set_vcpu_context(
        &self,
        domid: DomId,
        context: &pv::VcpuGuestContext,
    ) -> Result<(), XenError> {
        let mut buffer = self.call.buffer(size_of_val(context))?;
        buffer.write(0, context);
        let payload = domctl::VcpuContext { vcpu: 0, pad: 0, ctxt: buffer.address() };
        // SAFETY: the buffer outlives the call and holds a whole context.
        unsafe { self.domctl(domctl::SETVCPUCONTEXT, domid, &payload) }
            .map(drop)
            .map_err(|errno| XenError::refused(format!("set domain {domid}'s registers"), errno))
    }
}
