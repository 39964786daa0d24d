//! Builds a PVH domain: its memory, kernel, start info and first registers.
//!
//! Follows Xen's own tools step by step (`tools/libs/guest/xg_dom_x86.c`).

use super::acpi;
use super::error::BuildError;
use super::guest::{Guest, Ports, Rings};
use super::kernel::Kernel;
use super::piece::{Data, Piece, pages_of, to_index};
use super::ram::Ram;
use crate::{DomId, Hypervisor};
use xen_sys::memory::{E820_ACPI, E820_RAM, E820_RESERVED, E820Entry};
use xen_sys::{PAGE_BYTES, PAGE_SHIFT, hvm};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// RAM beyond this address is above 4 GiB: ACPI tables, special pages and local APICs are between.
const LOW_END: u64 = acpi::ADDRESS;
const HIGH_START: u64 = 4 << 30;

/// Pages that the guest shares with Xen and dom0, at the addresses that Xen's tools use.
const SPECIAL_PAGES: std::ops::Range<u64> = 0xFEFF8..0xFF000;
const STORE_PFN: u64 = SPECIAL_PAGES.start + 4;
const IDENTITY_PFN: u64 = SPECIAL_PAGES.start + 6;
const CONSOLE_PFN: u64 = SPECIAL_PAGES.start + 7;
/// The number of special pages in use.
const SPECIAL_PAGE_COUNT: u64 = 3;

/// Reserved bits in the registers of the first vcpu: dr6 and dr7 at reset.
pub(super) const DR6_DEFAULT: u64 = 0xffff_0ff0;
pub(super) const DR7_DEFAULT: u64 = 0x400;
/// cr0: protected mode, and a bit that is always set.
const CR0: u64 = 1 | 1 << 4;
/// MTRRs enabled, all memory write-back.
const MTRR_DEFAULT_TYPE: u64 = 1 << 11 | 6;

/// Fills the domain. Other modules set up devices and xenstore.
pub(super) fn build(
    xen: &Hypervisor,
    domid: DomId,
    guest: &Guest<'_>,
    ports: Ports,
) -> Result<Rings, BuildError> {
    let kernel = Kernel::parse(guest.kernel)?;
    let entry = kernel.pvh_entry()?;
    let layout = Layout::new(guest, &kernel)?;

    xen.set_param(domid, hvm::PARAM_TIMER_MODE, hvm::TIMER_MODE_NO_DELAY_FOR_MISSED_TICKS)?;
    xen.set_native_tsc(domid)?;
    xen.set_paging_memory(domid, paging_bytes(guest))?;

    let tables = acpi::tables(guest.vcpus);
    let acpi_pages = pages_of(tables.len() as u64);
    let wanted = layout.ram_pages() + SPECIAL_PAGE_COUNT + acpi_pages;
    let mut ram = Ram::translated(xen, domid, wanted);
    ram.claim()?;
    ram.populate(0..layout.low_end >> PAGE_SHIFT)?;
    if layout.high_end > HIGH_START {
        ram.populate(HIGH_START >> PAGE_SHIFT..layout.high_end >> PAGE_SHIFT)?;
    }
    for page in [STORE_PFN, IDENTITY_PFN, CONSOLE_PFN] {
        ram.populate(page..page + 1)?;
    }
    let acpi_first = acpi::ADDRESS >> PAGE_SHIFT;
    ram.populate(acpi_first..acpi_first + acpi_pages)?;
    ram.end_claim()?;

    let map = layout.memory_map(acpi_pages);
    let entries: Vec<_> =
        map.iter().map(|range| E820Entry::new(range.addr, range.size, range.kind)).collect();
    xen.set_memory_map(domid, &entries)?;

    let mut pieces = kernel.pieces();
    if let Some(initrd) = guest.initrd {
        pieces.push(Piece::new(layout.initrd, Data::of("initramfs", initrd)));
    }
    pieces.push(Piece::new(layout.start_info, layout.render_start_info(guest, &map)));
    pieces.push(Piece::new(acpi::ADDRESS, tables).padded(acpi_pages << PAGE_SHIFT));
    pieces.push(Piece::zero_page(STORE_PFN));
    pieces.push(Piece::zero_page(CONSOLE_PFN));
    pieces.push(Piece::new(IDENTITY_PFN << PAGE_SHIFT, identity_map()));
    ram.load(&pieces)?;
    set_ring_params(xen, domid, ports)?;
    set_registers(xen, domid, guest.vcpus, entry, layout.start_info)?;
    xen.seed_grants(domid, CONSOLE_PFN, STORE_PFN)?;
    Ok(Rings { store: STORE_PFN, console: CONSOLE_PFN })
}

/// The memory that Xen needs for a domain's page tables, by the formula of Xen's tools: 1 MiB for each vcpu, and 1/256
/// of the domain's memory.
pub(super) fn paging_bytes(guest: &Guest<'_>) -> u64 {
    4096 * (256 * u64::from(guest.vcpus) + u64::from(guest.memory_mib))
}

/// Where everything is, in guest physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// The end of the RAM that begins at 0.
    low_end: u64,
    /// The end of the RAM that begins at 4 GiB; 4 GiB if there is none.
    high_end: u64,
    initrd: u64,
    start_info: u64,
}

impl Layout {
    fn new(guest: &Guest<'_>, kernel: &Kernel<'_>) -> Result<Self, BuildError> {
        let bytes = u64::from(guest.memory_mib) << 20;
        let low_end = bytes.min(LOW_END);
        let initrd = kernel.end.next_multiple_of(PAGE_BYTES as u64);
        let initrd_bytes = guest.initrd.map_or(0, |initrd| initrd.bytes);
        let start_info = (initrd + initrd_bytes).next_multiple_of(PAGE_BYTES as u64);
        // One page after the command line has room for everything else.
        let end = start_info + guest.cmdline.len() as u64 + PAGE_BYTES as u64;
        if end > low_end {
            let needed_mib = end.div_ceil(1 << 20);
            return Err(BuildError::MemoryTooSmall { memory_mib: guest.memory_mib, needed_mib });
        }
        Ok(Self { low_end, high_end: HIGH_START + (bytes - low_end), initrd, start_info })
    }

    fn ram_pages(&self) -> u64 {
        (self.low_end + self.high_end - HIGH_START) >> PAGE_SHIFT
    }

    fn memory_map(&self, acpi_pages: u64) -> Vec<hvm::MemmapEntry> {
        let range = |addr, size, kind| hvm::MemmapEntry { addr, size, kind, reserved: 0 };
        let special_bytes = (SPECIAL_PAGES.end - SPECIAL_PAGES.start) << PAGE_SHIFT;
        let mut map = vec![
            range(0, self.low_end, E820_RAM),
            range(acpi::ADDRESS, acpi_pages << PAGE_SHIFT, E820_ACPI),
            range(SPECIAL_PAGES.start << PAGE_SHIFT, special_bytes, E820_RESERVED),
        ];
        if self.high_end > HIGH_START {
            map.push(range(HIGH_START, self.high_end - HIGH_START, E820_RAM));
        }
        map
    }

    /// The start info, followed by the structures that it points to.
    fn render_start_info(&self, guest: &Guest<'_>, map: &[hvm::MemmapEntry]) -> Vec<u8> {
        let modules_at = size_of::<hvm::StartInfo>();
        let map_at = modules_at + size_of::<hvm::ModlistEntry>();
        let cmdline_at = map_at + size_of_val(map);
        let address = |offset: usize| self.start_info + offset as u64;

        let header = hvm::StartInfo {
            magic: hvm::START_MAGIC,
            version: 1,
            flags: 0,
            nr_modules: u32::from(guest.initrd.is_some()),
            modlist_paddr: address(modules_at),
            cmdline_paddr: address(cmdline_at),
            rsdp_paddr: acpi::ADDRESS,
            memmap_paddr: address(map_at),
            memmap_entries: u32::try_from(map.len()).unwrap_or_default(),
            reserved: 0,
        };
        let module = hvm::ModlistEntry {
            paddr: self.initrd,
            size: guest.initrd.map_or(0, |initrd| initrd.bytes),
            ..hvm::ModlistEntry::new_zeroed()
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(module.as_bytes());
        for entry in map {
            bytes.extend_from_slice(entry.as_bytes());
        }
        bytes.extend_from_slice(guest.cmdline.as_bytes());
        bytes.push(0);
        bytes
    }
}

fn set_ring_params(xen: &Hypervisor, domid: DomId, ports: Ports) -> Result<(), BuildError> {
    // The only parameter that is an address instead of a frame.
    xen.set_param(domid, hvm::PARAM_IDENT_PT, IDENTITY_PFN << PAGE_SHIFT)?;
    xen.set_param(domid, hvm::PARAM_STORE_PFN, STORE_PFN)?;
    xen.set_param(domid, hvm::PARAM_CONSOLE_PFN, CONSOLE_PFN)?;
    xen.set_param(domid, hvm::PARAM_STORE_EVTCHN, ports.store.into())?;
    xen.set_param(domid, hvm::PARAM_CONSOLE_EVTCHN, ports.console.into())?;
    Ok(())
}

/// A page directory of 4 MiB pages, each mapped to itself: older Intel processors need paging even while the guest has
/// it off.
fn identity_map() -> Vec<u8> {
    // Present, writable, user, accessed, dirty, 4 MiB.
    const FLAGS: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7;
    (0..1024u32).flat_map(|index| (index << 22 | FLAGS).to_le_bytes()).collect()
}

/// Starts vcpu 0 at `entry` in flat protected mode without paging. The other vcpus stay offline until the guest starts
/// them.
fn set_registers(
    xen: &Hypervisor,
    domid: DomId,
    vcpus: u32,
    entry: u64,
    start_info: u64,
) -> Result<(), BuildError> {
    let saved = xen.hvm_context(domid)?;
    let nonsense = || crate::XenError::Nonsense {
        action: format!("read domain {domid}'s processor state"),
        what: "records are missing",
    };
    // Xen loads only state that begins with its own header.
    let header = record(&saved, hvm::SAVE_HEADER).ok_or_else(nonsense)?;
    let mtrr = record(&saved, hvm::SAVE_MTRR).ok_or_else(nonsense)?;
    let (mtrr, _) = hvm::Mtrr::read_from_prefix(mtrr).map_err(|_| nonsense())?;
    let mtrr = hvm::Mtrr { msr_mtrr_def_type: MTRR_DEFAULT_TYPE, ..mtrr };

    let mut context = Vec::new();
    push_record(&mut context, hvm::SAVE_HEADER, 0, header);
    for vcpu in 0..vcpus {
        let instance = u16::try_from(vcpu).unwrap_or(u16::MAX);
        push_record(&mut context, hvm::SAVE_MTRR, instance, mtrr.as_bytes());
    }
    push_record(&mut context, hvm::SAVE_CPU, 0, first_cpu(entry, start_info).as_bytes());
    push_record(&mut context, hvm::SAVE_END, 0, &[]);
    xen.set_hvm_context(domid, &context)?;
    Ok(())
}

fn first_cpu(entry: u64, start_info: u64) -> hvm::Cpu {
    /// 32-bit code and data segments over all memory, and a task segment, in the format of descriptors.
    const CODE: u32 = 0xc9b;
    const DATA: u32 = 0xc93;
    const TASK: u32 = 0x8b;
    hvm::Cpu {
        rip: entry,
        rbx: start_info,
        cr0: CR0,
        dr6: DR6_DEFAULT,
        dr7: DR7_DEFAULT,
        cs_limit: u32::MAX,
        ds_limit: u32::MAX,
        es_limit: u32::MAX,
        ss_limit: u32::MAX,
        tr_limit: 0x67,
        cs_arbytes: CODE,
        ds_arbytes: DATA,
        es_arbytes: DATA,
        ss_arbytes: DATA,
        tr_arbytes: TASK,
        ..hvm::Cpu::new_zeroed()
    }
}

fn push_record(context: &mut Vec<u8>, typecode: u16, instance: u16, record: &[u8]) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    let descriptor = hvm::SaveDescriptor { typecode, instance, length };
    context.extend_from_slice(descriptor.as_bytes());
    context.extend_from_slice(record);
}

/// Finds the first record of a type with instance 0.
fn record(mut saved: &[u8], typecode: u16) -> Option<&[u8]> {
    loop {
        let descriptor = hvm::SaveDescriptor::read_from_prefix(saved).ok()?.0;
        let rest = saved.get(size_of::<hvm::SaveDescriptor>()..)?;
        let (body, next) = rest.split_at_checked(to_index(descriptor.length.into()))?;
        if descriptor.typecode == typecode && descriptor.instance == 0 {
            return Some(body);
        }
        if descriptor.typecode == hvm::SAVE_END {
            return None;
        }
        saved = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::guest::Kind;
    use super::super::kernel::tests::elf_file;
    use super::super::payload::{Payload, file_of};
    use super::*;
    use std::fs::File;

    /// A guest whose kernel and initrd are both `file`.
    fn guest(memory_mib: u32, file: &File) -> Guest<'_> {
        Guest {
            name: "web",
            uuid: [1; 16],
            kind: Kind::Pvh,
            kernel: Payload::new(file).unwrap(),
            initrd: Some(Payload::new(file).unwrap()),
            cmdline: "console=hvc0",
            memory_mib,
            vcpus: 2,
        }
    }

    fn layout(memory_mib: u32) -> Result<Layout, BuildError> {
        let file = file_of(&elf_file(0x100_0000, b"code", &[(18, 0x100_0000)]));
        let guest = guest(memory_mib, &file);
        Layout::new(&guest, &Kernel::parse(guest.kernel).unwrap())
    }

    #[test]
    fn memory_above_the_hole_starts_at_4_gib_and_none_is_lost() {
        let small = layout(64).unwrap();
        assert_eq!((small.low_end, small.high_end), (64 << 20, HIGH_START));
        let large = layout(8192).unwrap();
        assert_eq!(large.low_end, LOW_END);
        assert_eq!(large.ram_pages(), 8192 * 256);
        assert_eq!(large.memory_map(1).len(), 4);
    }

    #[test]
    fn memory_too_small_for_kernel_and_initrd_is_refused_with_the_figure() {
        let error = layout(16).unwrap_err();
        assert!(matches!(error, BuildError::MemoryTooSmall { memory_mib: 16, needed_mib: 17 }));
        layout(17).unwrap();
    }

    #[test]
    fn the_start_info_points_to_initrd_map_and_command_line() {
        let layout = layout(64).unwrap();
        let map = layout.memory_map(1);
        let initrd = file_of(&[7; 5000]);
        let bytes = layout.render_start_info(&guest(64, &initrd), &map);
        let info = hvm::StartInfo::read_from_prefix(&bytes).unwrap().0;
        let at = |address: u64| &bytes[to_index(address - layout.start_info)..];
        let module = hvm::ModlistEntry::read_from_prefix(at(info.modlist_paddr)).unwrap().0;
        assert_eq!((module.paddr, module.size), (layout.initrd, 5000));
        assert_eq!(at(info.cmdline_paddr), b"console=hvc0\0");
        let first = hvm::MemmapEntry::read_from_prefix(at(info.memmap_paddr)).unwrap().0;
        assert_eq!((first.addr, first.size, first.kind), (0, 64 << 20, 1));
    }

    #[test]
    fn a_record_is_found_by_type_and_a_cut_off_list_has_none() {
        let mut saved = Vec::new();
        push_record(&mut saved, hvm::SAVE_HEADER, 0, b"head");
        push_record(&mut saved, hvm::SAVE_MTRR, 1, b"second");
        push_record(&mut saved, hvm::SAVE_MTRR, 0, b"first");
        push_record(&mut saved, hvm::SAVE_END, 0, b"");
        assert_eq!(record(&saved, hvm::SAVE_MTRR), Some(&b"first"[..]));
        assert_eq!(record(&saved, hvm::SAVE_CPU), None);
        assert_eq!(record(&saved[..20], hvm::SAVE_MTRR), None);
    }
}
