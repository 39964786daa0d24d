//! Builds a PV domain: its memory, kernel, page tables, start info and first registers.
//!
//! Follows Xen's own tools step by step (`tools/libs/guest/xg_dom_x86.c`). Guest pages, in order: kernel, start info,
//! xenstore ring, console ring, page tables, boot stack, room for the kernel to grow, initrd, p2m list, page tables of
//! the p2m list.

use super::error::BuildError;
use super::guest::{Guest, Ports, Rings};
use super::kernel::{Kernel, PvEntry};
use super::pagetables::{self, Area, Table};
use super::piece::{Data, Piece, pages_of};
use super::pvh::{DR6_DEFAULT, DR7_DEFAULT};
use super::ram::Ram;
use crate::{DomId, Hypervisor, XenError};
use std::ops::Range;
use xen_sys::{PAGE_BYTES, PAGE_SHIFT, pv};
use zerocopy::{FromZeros, IntoBytes};

/// The pages that Linux expects to be mapped after its boot stack: 512 KiB.
const SPARE_PAGES: u64 = 128;
/// The initial mapping ends on a multiple of 4 MiB.
const MAPPING_STEP_PAGES: u64 = 1024;
const MAGIC: &[u8] = b"xen-3.0-x86_64";
/// Interrupts enabled.
const RFLAGS: u64 = 1 << 9;

/// Fills the domain. Other modules set up devices and xenstore.
pub(super) fn build(
    xen: &Hypervisor,
    domid: DomId,
    guest: &Guest<'_>,
    ports: Ports,
) -> Result<Rings, BuildError> {
    if guest.cmdline.len() >= pv::MAX_GUEST_CMDLINE {
        let limit = pv::MAX_GUEST_CMDLINE - 1;
        return Err(BuildError::Invalid(format!(
            "the kernel command line has {} bytes, more than the {limit} of a PV domain",
            guest.cmdline.len()
        )));
    }
    let kernel = Kernel::parse(guest.kernel)?;
    let entry = kernel.pv_entry()?;
    let layout = Layout::new(guest, &kernel, &entry)?;

    let mut ram = Ram::direct(xen, domid, layout.total_pages);
    xen.set_native_tsc(domid)?;
    ram.claim()?;
    ram.populate(0..layout.total_pages)?;
    ram.end_claim()?;

    let mut pieces = kernel.pieces();
    if let Some(initrd) = guest.initrd {
        let start = layout.initrd.start << PAGE_SHIFT;
        pieces.push(
            Piece::new(start, Data::of("initramfs", initrd)).padded(pages_bytes(&layout.initrd)),
        );
    }
    let p2m_start = layout.p2m.pages.start << PAGE_SHIFT;
    pieces.push(Piece::new(p2m_start, bytes_of(ram.p2m())).padded(pages_bytes(&layout.p2m.pages)));
    for table in layout.page_tables(&ram) {
        pieces.push(Piece::new(table.pfn << PAGE_SHIFT, bytes_of(&table.entries)));
    }
    pieces.extend([layout.store, layout.console, layout.boot_stack].map(Piece::zero_page));
    let shared_info = shared_info_frame(xen, domid)?;
    let start_info = layout.render_start_info(guest, &ram, ports, shared_info);
    let start_info = Piece::new(layout.start_info << PAGE_SHIFT, start_info.as_bytes());
    pieces.push(start_info.padded(PAGE_BYTES as u64));
    ram.load(&pieces)?;

    set_up_shared_info(xen, domid, shared_info)?;
    if let Some(page) = entry.hypercall_page {
        let pfn = layout.page_of(page)?;
        xen.init_hypercall_page(domid, ram.frame(pfn))?;
    }
    // Xen does not pin a page table that is mapped writable; `load` leaves no mapping.
    let root = ram.frame(layout.tables.start);
    xen.pin_page_tables(domid, root)?;
    xen.set_vcpu_context(domid, &layout.first_vcpu(&entry, root))?;
    let rings = Rings { store: ram.frame(layout.store), console: ram.frame(layout.console) };
    xen.seed_grants(domid, rings.console, rings.store)?;
    Ok(rings)
}

/// Where everything is, in guest page numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    total_pages: u64,
    start_info: u64,
    store: u64,
    console: u64,
    /// The root first, then the tables of the initial mapping.
    tables: Range<u64>,
    boot_stack: u64,
    initrd: Range<u64>,
    /// Everything that is mapped at the kernel's own addresses.
    mapped: Area,
    p2m: Area,
    /// The first of the page tables that map the p2m list.
    p2m_tables: u64,
}

impl Layout {
    fn new(guest: &Guest<'_>, kernel: &Kernel<'_>, entry: &PvEntry) -> Result<Self, BuildError> {
        let total_pages = u64::from(guest.memory_mib) << (20 - PAGE_SHIFT);
        let start_info = pages_of(kernel.end);
        let [store, console, first_table] = [1, 2, 3].map(|offset| start_info + offset);
        let (tables, mapped) = initial_mapping(entry.virt_base, first_table);
        let boot_stack = tables.end;
        let initrd_start = mapped.pages.end;
        let initrd_bytes = guest.initrd.map_or(0, |initrd| initrd.bytes);
        let initrd = initrd_start..initrd_start + pages_of(initrd_bytes);
        let p2m_end = initrd.end + pages_of(total_pages * 8);
        let p2m = Area { address: entry.p2m_base, pages: initrd.end..p2m_end };
        let end = p2m_end + p2m.table_count();
        if end > total_pages {
            let needed_mib = end.div_ceil(1 << (20 - PAGE_SHIFT));
            return Err(BuildError::MemoryTooSmall { memory_mib: guest.memory_mib, needed_mib });
        }
        let (slots, used) = (p2m.root_slots(), mapped.root_slots());
        if slots.start < used.end && used.start < slots.end {
            let what = "the kernel puts its p2m list too close to its own mapping (INIT_P2M note)";
            return Err(BuildError::Invalid(what.to_owned()));
        }
        let p2m_tables = p2m_end;
        Ok(Self {
            total_pages,
            start_info,
            store,
            console,
            tables,
            boot_stack,
            initrd,
            mapped,
            p2m,
            p2m_tables,
        })
    }

    fn page_tables(&self, ram: &Ram<'_>) -> Vec<Table> {
        let frame = |pfn| ram.frame(pfn);
        let mut root = pagetables::root(self.tables.start);
        let first = self.tables.start + 1;
        let mut tables = self.mapped.tables(&mut root, first, frame, &self.tables);
        tables.extend(self.p2m.tables(&mut root, self.p2m_tables, frame, &self.tables));
        tables.push(root);
        tables
    }

    fn address_of(&self, pfn: u64) -> u64 {
        self.mapped.address.wrapping_add(pfn << PAGE_SHIFT)
    }

    /// The guest page at a virtual address of the initial mapping.
    fn page_of(&self, address: u64) -> Result<u64, BuildError> {
        let page = address.wrapping_sub(self.mapped.address) >> PAGE_SHIFT;
        if self.mapped.pages.contains(&page) {
            return Ok(page);
        }
        let what = format!("the kernel's address {address:#x} is outside of its own mapping");
        Err(BuildError::Invalid(what))
    }

    fn render_start_info(
        &self,
        guest: &Guest<'_>,
        ram: &Ram<'_>,
        ports: Ports,
        shared_info: u64,
    ) -> pv::StartInfo {
        let mut info = pv::StartInfo {
            nr_pages: self.total_pages,
            shared_info: shared_info << PAGE_SHIFT,
            store_mfn: ram.frame(self.store),
            store_evtchn: ports.store,
            console_mfn: ram.frame(self.console),
            console_evtchn: ports.console,
            pt_base: self.address_of(self.tables.start),
            nr_pt_frames: self.tables.end - self.tables.start,
            mfn_list: self.p2m.address,
            first_p2m_pfn: self.p2m.pages.start,
            nr_p2m_frames: self.p2m_tables + self.p2m.table_count() - self.p2m.pages.start,
            ..pv::StartInfo::new_zeroed()
        };
        info.magic[..MAGIC.len()].copy_from_slice(MAGIC);
        let cmdline = guest.cmdline.as_bytes();
        info.cmd_line[..cmdline.len()].copy_from_slice(cmdline);
        if let Some(initrd) = guest.initrd {
            info.flags = pv::SIF_MOD_START_PFN;
            info.mod_start = self.initrd.start;
            info.mod_len = initrd.bytes;
        }
        info
    }

    fn first_vcpu(&self, entry: &PvEntry, root_frame: u64) -> pv::VcpuGuestContext {
        let stack_end = self.address_of(self.boot_stack + 1);
        let mut context = pv::VcpuGuestContext {
            flags: pv::VGCF_IN_KERNEL | pv::VGCF_ONLINE,
            kernel_ss: pv::FLAT_KERNEL_SS.into(),
            kernel_sp: stack_end,
            ..pv::VcpuGuestContext::new_zeroed()
        };
        context.ctrlreg[3] = root_frame << PAGE_SHIFT;
        context.debugreg[6] = DR6_DEFAULT;
        context.debugreg[7] = DR7_DEFAULT;
        context.user_regs = pv::UserRegs {
            rip: entry.entry,
            rsp: stack_end,
            rsi: self.address_of(self.start_info),
            rflags: RFLAGS,
            cs: pv::FLAT_KERNEL_CS,
            ss: pv::FLAT_KERNEL_SS,
            ds: pv::FLAT_KERNEL_DS,
            es: pv::FLAT_KERNEL_DS,
            fs: pv::FLAT_KERNEL_DS,
            gs: pv::FLAT_KERNEL_DS,
            ..pv::UserRegs::new_zeroed()
        };
        context
    }
}

/// The page tables of the initial mapping, starting at guest page `first_table`, and the mapped area: everything up to
/// the tables, the boot stack and some spare room. More mapped pages may need more tables, which must be mapped too, so
/// this repeats until both fit.
fn initial_mapping(virt_base: u64, first_table: u64) -> (Range<u64>, Area) {
    let beyond_tables = 1 + SPARE_PAGES;
    let mut count = 1;
    loop {
        let end = (first_table + count + beyond_tables).next_multiple_of(MAPPING_STEP_PAGES);
        let area = Area { address: virt_base, pages: 0..end };
        let needed = 1 + area.table_count();
        if first_table + needed + beyond_tables <= end {
            return (first_table..first_table + needed, area);
        }
        count = needed;
    }
}

fn bytes_of(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn pages_bytes(pages: &Range<u64>) -> u64 {
    (pages.end - pages.start) << PAGE_SHIFT
}

fn shared_info_frame(xen: &Hypervisor, domid: DomId) -> Result<u64, BuildError> {
    let info = xen.domain_info(domid)?;
    let info = info.ok_or_else(|| XenError::Nonsense {
        action: format!("build domain {domid}"),
        what: "the domain no longer exists",
    })?;
    Ok(info.shared_info_frame)
}

/// Clears the page and masks events of all vcpus, as a guest expects.
fn set_up_shared_info(xen: &Hypervisor, domid: DomId, frame: u64) -> Result<(), BuildError> {
    let mut page = xen.map_foreign(domid, &[frame])?;
    page.clear(0, PAGE_BYTES);
    for vcpu in 0..pv::LEGACY_MAX_VCPUS {
        page.write(vcpu * pv::VCPU_INFO_BYTES + pv::VCPU_INFO_UPCALL_MASK, &[1]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_mapping_covers_its_own_tables_stack_and_spare_room() {
        for first_table in [0, 1, 800, 890, 894, 895, 896, 1023, 1024, 5000, 200_000] {
            let (tables, area) = initial_mapping(0xffff_ffff_8000_0000, first_table);
            assert_eq!(tables.end - tables.start, 1 + area.table_count());
            assert!(tables.end + 1 + SPARE_PAGES <= area.pages.end, "from {first_table}");
            assert_eq!(area.pages.end % MAPPING_STEP_PAGES, 0);
        }
    }

    #[test]
    fn an_address_outside_of_the_mapping_is_refused() {
        let (tables, mapped) = initial_mapping(0xffff_ffff_8000_0000, 100);
        let p2m = Area { address: 1 << 39, pages: 2000..2001 };
        let layout = Layout {
            total_pages: 4096,
            start_info: 97,
            store: 98,
            console: 99,
            boot_stack: tables.end,
            tables,
            initrd: 1500..1600,
            mapped,
            p2m,
            p2m_tables: 2001,
        };
        assert_eq!(layout.page_of(0xffff_ffff_8000_5123).unwrap(), 5);
        for outside in [0xffff_ffff_7fff_ffff, 0xffff_ffff_9000_0000] {
            let error = layout.page_of(outside).unwrap_err().to_string();
            assert!(error.contains("outside of its own mapping"), "{error}");
        }
    }
}
