//! The kernel's file: its executable sections, and their places in memory.

use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::abi::{PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS};
use elf::endian::LittleEndian;

/// An executable section of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its linked address.
    pub virtual_address: u64,
    /// Its address in the machine's memory.
    pub physical_address: u64,
    /// Its contents in the file.
    pub contents: Vec<u8>,
}

/// A kernel file's executable sections, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// At least one section.
    pub sections: Vec<Section>,
}

impl Image {
    /// Reads an ELF file: `vmlinux`, stripped or not.
    ///
    /// # Errors
    /// The file is not an ELF file, or has no executable section that is loaded.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).context("not an ELF file")?;
        let (Some(headers), Some(names)) = elf.section_headers_with_strtab()? else {
            bail!("the file has no section headers");
        };
        let segments = elf.segments().context("the file has no program headers")?;
        let mut sections = Vec::new();
        for header in headers.iter() {
            let flags = u64::from(SHF_ALLOC | SHF_EXECINSTR);
            if header.sh_flags & flags != flags || header.sh_type == SHT_NOBITS {
                continue;
            }
            let name = names.get(usize::try_from(header.sh_name)?)?.to_owned();
            let (contents, _) = elf.section_data(&header)?;
            let segment = segments.iter().find(|segment| {
                let range = segment.p_vaddr..segment.p_vaddr.saturating_add(segment.p_memsz);
                segment.p_type == PT_LOAD && range.contains(&header.sh_addr)
            });
            let segment = segment.with_context(|| format!("{name} is in no segment"))?;
            sections.push(Section {
                name,
                virtual_address: header.sh_addr,
                physical_address: segment.p_paddr + (header.sh_addr - segment.p_vaddr),
                contents: contents.to_vec(),
            });
        }
        if sections.is_empty() {
            bail!("the file has no executable section");
        }
        Ok(Self { sections })
    }

    /// The sections' contents in the file, one after the other.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        self.sections.iter().flat_map(|section| section.contents.iter().copied()).collect()
    }

    /// The section, and the virtual address, of byte `offset` of [`Image::text`].
    #[must_use]
    pub fn locate(&self, mut offset: usize) -> Option<(&Section, u64)> {
        for section in &self.sections {
            if offset < section.contents.len() {
                return Some((section, section.virtual_address + offset as u64));
            }
            offset -= section.contents.len();
        }
        None
    }
}
