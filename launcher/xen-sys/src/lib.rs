//! Raw Xen ABI for dom0: structs, constants, ioctls.
//!
//! One module a header, x86-64 only, no logic. Sizes and offsets are checked when compiling
//! ([`layout`]) and compared with the installed headers by `tests/headers.rs`. Structures are
//! named after the header's without their prefix; addresses are `u64`, padding is a field.

pub mod domctl;
pub mod event_channel;
pub mod grant_table;
pub mod hvm;
pub mod hypercall;
pub mod layout;
pub mod memory;
pub mod privcmd;
pub mod pv;
pub mod sysctl;
pub mod vchan;

pub use layout::Plain;

use layout::{Constant, Described, Layout};

/// The size of a page, for all of Xen's x86 interfaces.
pub const PAGE_BYTES: usize = 4096;
/// Its base-2 logarithm.
pub const PAGE_SHIFT: u32 = 12;

/// Every structure of this crate that a C header has too.
#[must_use]
pub fn layouts() -> Vec<Layout> {
    vec![
        domctl::AddressSize::LAYOUT,
        domctl::ArchDomainConfig::LAYOUT,
        domctl::CreateDomain16::LAYOUT,
        domctl::CreateDomain17::LAYOUT,
        domctl::Domctl::LAYOUT,
        domctl::GetDomainInfo::LAYOUT,
        domctl::HvmContext::LAYOUT,
        domctl::HypercallInit::LAYOUT,
        domctl::MaxMem::LAYOUT,
        domctl::MaxVcpus::LAYOUT,
        domctl::PagingMempool::LAYOUT,
        domctl::TscInfo::LAYOUT,
        domctl::VcpuContext::LAYOUT,
        event_channel::AllocUnbound::LAYOUT,
        event_channel::BindInterdomain::LAYOUT,
        event_channel::BindUnboundPort::LAYOUT,
        event_channel::Notify::LAYOUT,
        event_channel::Unbind::LAYOUT,
        grant_table::AllocGref::LAYOUT,
        grant_table::DeallocGref::LAYOUT,
        grant_table::EntryV1::LAYOUT,
        grant_table::MapGrantRef::LAYOUT,
        grant_table::UnmapGrantRef::LAYOUT,
        grant_table::UnmapNotify::LAYOUT,
        hvm::Cpu::LAYOUT,
        hvm::MemmapEntry::LAYOUT,
        hvm::ModlistEntry::LAYOUT,
        hvm::Mtrr::LAYOUT,
        hvm::Param::LAYOUT,
        hvm::SaveDescriptor::LAYOUT,
        hvm::SaveHeader::LAYOUT,
        hvm::StartInfo::LAYOUT,
        memory::ForeignMemoryMap::LAYOUT,
        memory::MemoryReservation::LAYOUT,
        privcmd::Hypercall::LAYOUT,
        privcmd::MmapBatchV2::LAYOUT,
        privcmd::MmapResource::LAYOUT,
        pv::MmuextOp::LAYOUT,
        pv::StartInfo::LAYOUT,
        pv::UserRegs::LAYOUT,
        pv::VcpuGuestContext::LAYOUT,
        sysctl::GetDomainInfoList::LAYOUT,
        sysctl::PhysInfo::LAYOUT,
        sysctl::Sysctl::LAYOUT,
        vchan::Interface::LAYOUT,
        vchan::RingShared::LAYOUT,
    ]
}

/// Every constant of this crate that a C header has too.
#[must_use]
pub fn constants() -> Vec<Constant> {
    [
        domctl::CONSTANTS,
        event_channel::CONSTANTS,
        grant_table::CONSTANTS,
        hvm::CONSTANTS,
        hypercall::CONSTANTS,
        memory::CONSTANTS,
        privcmd::CONSTANTS,
        pv::CONSTANTS,
        sysctl::CONSTANTS,
        vchan::CONSTANTS,
    ]
    .concat()
}
