//! Parses the guest kernel: an ELF file with Xen's notes.

use super::error::KernelError;
use super::payload::Payload;
use super::piece::{Data, Piece};
use elf::ElfStream;
use elf::abi::{EM_X86_64, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::note::Note;
use std::fs::File;
use std::ops::Range;

/// Types of notes from `xen/include/public/elfnote.h`.
const NOTE_ENTRY: u64 = 1;
const NOTE_HYPERCALL_PAGE: u64 = 2;
const NOTE_VIRT_BASE: u64 = 3;
const NOTE_PADDR_OFFSET: u64 = 4;
const NOTE_INIT_P2M: u64 = 15;
const NOTE_MOD_START_PFN: u64 = 16;
const NOTE_PHYS32_ENTRY: u64 = 18;

/// The largest size of a kernel in memory, including its bss.
const MAX_MEMORY_BYTES: u64 = 512 << 20;

/// A part of the kernel to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its guest physical address.
    pub(super) address: u64,
    /// The range of its data in the file.
    pub(super) data: Range<u64>,
    /// Its size in memory; zeroes follow the data.
    pub(super) memory_bytes: u64,
}

/// A parsed kernel.
#[derive(Clone, Debug)]
pub(super) struct Kernel<'a> {
    file: &'a File,
    pub(super) segments: Vec<Segment>,
    /// The end of the kernel, as a guest physical address.
    pub(super) end: u64,
    notes: Notes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Notes {
    entry: Option<u64>,
    hypercall_page: Option<u64>,
    virt_base: Option<u64>,
    paddr_offset: u64,
    init_p2m: Option<u64>,
    mod_start_pfn: bool,
    phys32_entry: Option<u64>,
}

/// What the notes of a PV kernel say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PvEntry {
    /// Virtual address of the first instruction.
    pub(super) entry: u64,
    /// Virtual address of guest page 0.
    pub(super) virt_base: u64,
    /// Virtual address of the page for hypercall entries; newer kernels do not have one.
    pub(super) hypercall_page: Option<u64>,
    /// Virtual address for the p2m list.
    pub(super) p2m_base: u64,
}

impl<'a> Kernel<'a> {
    pub(super) fn parse(payload: Payload<'a>) -> Result<Self, KernelError> {
        let Payload { file, bytes: found } = payload;
        let damaged = |error: elf::ParseError| KernelError::Damaged(error.to_string());
        let mut elf = ElfStream::<LittleEndian, _>::open_stream(file).map_err(damaged)?;
        if elf.ehdr.e_machine != EM_X86_64 || elf.ehdr.class != Class::ELF64 {
            return Err(KernelError::WrongMachine);
        }
        let mut segments = Vec::new();
        let mut notes = Notes::default();
        for header in elf.segments().clone() {
            let wanted = header.p_offset.checked_add(header.p_filesz);
            let wanted = wanted.ok_or(KernelError::BadSegments)?;
            if wanted > found && matches!(header.p_type, PT_LOAD | PT_NOTE) {
                return Err(KernelError::Truncated { wanted, found });
            }
            match header.p_type {
                PT_LOAD if header.p_memsz > 0 => {
                    let data = header.p_offset..wanted;
                    let memory_bytes = header.p_memsz;
                    segments.push(Segment { address: header.p_paddr, data, memory_bytes });
                }
                PT_NOTE => {
                    for note in elf.segment_data_as_notes(&header).map_err(damaged)? {
                        notes.take(&note);
                    }
                }
                _ => {}
            }
        }
        for segment in &mut segments {
            let moved = segment.address.checked_sub(notes.paddr_offset);
            segment.address = moved.ok_or(KernelError::BadSegments)?;
        }
        let end = check_segments(&segments)?;
        Ok(Self { file, segments, end, notes })
    }

    /// The pieces to load.
    pub(super) fn pieces(&self) -> Vec<Piece<'a>> {
        let piece = |segment: &Segment| {
            let data =
                Data::File { what: "guest kernel", file: self.file, range: segment.data.clone() };
            Piece::new(segment.address, data).padded(segment.memory_bytes)
        };
        self.segments.iter().map(piece).collect()
    }

    /// Guest physical address of a PVH domain's first instruction.
    pub(super) fn pvh_entry(&self) -> Result<u64, KernelError> {
        let note = "XEN_ELFNOTE_PHYS32_ENTRY";
        self.notes.phys32_entry.ok_or(KernelError::MissingNote { note, option: "CONFIG_PVH" })
    }

    pub(super) fn pv_entry(&self) -> Result<PvEntry, KernelError> {
        let need = |value: Option<u64>, note| {
            value.ok_or(KernelError::MissingNote { note, option: "CONFIG_XEN_PV" })
        };
        // Without this note the initrd would have to be part of the initial mapping.
        need(self.notes.mod_start_pfn.then_some(1), "XEN_ELFNOTE_MOD_START_PFN")?;
        Ok(PvEntry {
            entry: need(self.notes.entry, "XEN_ELFNOTE_ENTRY")?,
            virt_base: need(self.notes.virt_base, "XEN_ELFNOTE_VIRT_BASE")?,
            hypercall_page: self.notes.hypercall_page,
            p2m_base: need(self.notes.init_p2m, "XEN_ELFNOTE_INIT_P2M")?,
        })
    }
}

impl Notes {
    fn take(&mut self, note: &Note<'_>) {
        let Note::Unknown(note) = note else { return };
        if note.name.strip_suffix(b"\0").unwrap_or(note.name) != b"Xen" {
            return;
        }
        let Some(number) = number(note.desc) else { return };
        match note.n_type {
            NOTE_ENTRY => self.entry = Some(number),
            NOTE_HYPERCALL_PAGE => self.hypercall_page = Some(number),
            NOTE_VIRT_BASE => self.virt_base = Some(number),
            NOTE_PADDR_OFFSET => self.paddr_offset = number,
            NOTE_INIT_P2M => self.init_p2m = Some(number),
            NOTE_MOD_START_PFN => self.mod_start_pfn = number != 0,
            NOTE_PHYS32_ENTRY => self.phys32_entry = Some(number),
            _ => {}
        }
    }
}

/// Reads the number in a note, which has 4 or 8 bytes.
fn number(bytes: &[u8]) -> Option<u64> {
    match bytes.len() {
        4 => bytes.try_into().ok().map(u32::from_le_bytes).map(u64::from),
        8 => bytes.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    }
}

/// Checks that the segments are in range and do not overlap. Returns the end of the last one.
fn check_segments(segments: &[Segment]) -> Result<u64, KernelError> {
    let mut ranges = Vec::new();
    for segment in segments {
        let end = segment.address.checked_add(segment.memory_bytes);
        let end = end.filter(|end| *end <= MAX_MEMORY_BYTES).ok_or(KernelError::BadSegments)?;
        if segment.data.end - segment.data.start > segment.memory_bytes {
            return Err(KernelError::BadSegments);
        }
        ranges.push((segment.address, end));
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(KernelError::BadSegments);
    }
    ranges.last().map(|(_, end)| *end).ok_or(KernelError::BadSegments)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::payload::file_of;
    use super::*;
    use proptest::prelude::*;

    /// The end of a kernel with these bytes.
    fn parse(bytes: &[u8]) -> Result<u64, KernelError> {
        let file = file_of(bytes);
        Kernel::parse(Payload::new(&file).unwrap()).map(|kernel| kernel.end)
    }

    /// An ELF file with these notes and one segment of `data` at `address`.
    pub(in crate::builder) fn elf_file(address: u64, data: &[u8], notes: &[(u32, u64)]) -> Vec<u8> {
        let mut note_bytes = Vec::new();
        for (kind, value) in notes {
            for word in [4u32, 8, *kind] {
                note_bytes.extend(word.to_le_bytes());
            }
            note_bytes.extend(b"Xen\0");
            note_bytes.extend(value.to_le_bytes());
        }
        let notes_at = 64 + 2 * 56;
        let data_at = notes_at + note_bytes.len();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        for half in [2u16, EM_X86_64] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1u32.to_le_bytes());
        for word in [0u64, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 2, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut header = |kind: u32, offset: usize, address: u64, size: usize, memory: usize| {
            file.extend(kind.to_le_bytes());
            file.extend(4u32.to_le_bytes());
            let align = 4;
            for word in [offset as u64, address, address, size as u64, memory as u64, align] {
                file.extend(word.to_le_bytes());
            }
        };
        header(PT_LOAD, data_at, address, data.len(), data.len() + 4096);
        header(PT_NOTE, notes_at, 0, note_bytes.len(), note_bytes.len());
        file.extend(note_bytes);
        file.extend(data);
        file
    }

    #[test]
    fn segments_and_notes_are_found() {
        let bytes = elf_file(0x100_0000, b"code", &[(18, 0x100_0100)]);
        let file = file_of(&bytes);
        let kernel = Kernel::parse(Payload::new(&file).unwrap()).unwrap();
        let end = bytes.len() as u64;
        assert_eq!(kernel.segments[0].data, end - 4..end);
        assert_eq!(kernel.end, 0x100_0000 + 4 + 4096);
        assert_eq!(kernel.pvh_entry().unwrap(), 0x100_0100);
    }

    #[test]
    fn a_kernel_without_the_note_is_refused_by_its_name() {
        let file = file_of(&elf_file(0x100_0000, b"code", &[]));
        let kernel = Kernel::parse(Payload::new(&file).unwrap()).unwrap();
        let error = kernel.pvh_entry().unwrap_err().to_string();
        assert!(error.contains("XEN_ELFNOTE_PHYS32_ENTRY"), "{error}");
        let error = kernel.pv_entry().unwrap_err().to_string();
        assert!(error.contains("XEN_ELFNOTE_MOD_START_PFN"), "{error}");
    }

    #[test]
    fn a_truncated_kernel_is_refused_at_every_length() {
        let file = elf_file(0x100_0000, &[7; 64], &[(18, 0x100_0100)]);
        for length in 0..file.len() {
            let error = parse(&file[..length]).unwrap_err();
            let named = matches!(error, KernelError::Damaged(_) | KernelError::Truncated { .. });
            assert!(named, "{length} bytes: {error}");
        }
        parse(&file).unwrap();
    }

    #[test]
    fn a_bzimage_is_no_kernel() {
        let error = parse(&[0x4d, 0x5a, 0, 0]).unwrap_err().to_string();
        assert!(error.contains("vmlinux"), "{error}");
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(
            changes in prop::collection::vec((0usize..300, any::<u8>()), 0..12),
        ) {
            let mut file = elf_file(0x100_0000, &[7; 64], &[(18, 0x100_0100), (3, 1 << 40)]);
            for (position, byte) in changes {
                if let Some(place) = file.get_mut(position) {
                    *place = byte;
                }
            }
            if let Ok(end) = parse(&file) {
                prop_assert!(end <= MAX_MEMORY_BYTES);
            }
        }
    }
}
