//! Boots a kernel in a Xen domain until it panics, and then reads the domain's memory.

use super::image::Image;
use super::machine::{Booted, SAID};
use crate::instance::Instance;
use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::endian::LittleEndian;
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// How long a boot and the dump of its memory may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
const PAGE: usize = 4096;

/// Starts the domain config $1 (with the kernel /share/vmlinux), waits until the kernel has crashed, writes the
/// domain's memory to /share/core, and destroys the domain.
const SCRIPT: &str = r#"
set -e
domain=patched-text
xl destroy $domain 2>/dev/null || true
printf '%s\n' "$1" >/tmp/$domain.cfg
xl create -q /tmp/$domain.cfg
while :; do
    # Flags in `xl list`'s fifth column: the one of a crashed domain is its fifth letter.
    case $(xl list $domain | awk 'NR == 2 { print $5 }') in
    ????c*) break ;;
    esac
    sleep 1
done
xl dump-core $domain /tmp/core >/dev/null
xl destroy $domain
mv /tmp/core /share/core
"#;

/// Boots /share/vmlinux of `lab` as a domain, and reads the text of `image`.
///
/// # Errors
/// The kernel does not crash in time, or its memory cannot be read.
pub(super) fn boot(lab: &Instance, kind: &str, parameters: &str, image: &Image) -> Result<Booted> {
    // Xen sees a panic as a crash.
    let config = format!(
        "name = 'patched-text'\ntype = '{kind}'\nmemory = 64\nvcpus = 1\nkernel = '/share/vmlinux'\n\
         cmdline = '{parameters}'\non_crash = 'preserve'"
    );
    let output = lab.run(["sh", "-c", SCRIPT, "sh", &config], &[], PATIENCE)?;
    if output.code != 0 {
        bail!("cannot boot a {kind} domain: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let file = lab.share().join("core");
    let core = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    Ok(Booted { text: text(&core, image)?, is_linux: is_in_kernel_log(&core, SAID.as_bytes()) })
}

/// Whether the kernel has logged `text`: its code also contains the text, but with a log level before it.
fn is_in_kernel_log(memory: &[u8], text: &[u8]) -> bool {
    const LEVEL: &[u8] = b"\x016";
    memory
        .windows(LEVEL.len() + text.len())
        .any(|bytes| bytes.ends_with(text) && !bytes.starts_with(LEVEL))
}

/// The text of `image` in a file that `xl dump-core` wrote.
///
/// Source: Xen's `docs/misc/dump-core-format.txt`.
fn text(core: &[u8], image: &Image) -> Result<Vec<u8>> {
    let elf =
        ElfBytes::<LittleEndian>::minimal_parse(core).context("the dump is not an ELF file")?;
    let section = |name: &str| -> Result<Option<&[u8]>> {
        let header = elf.section_header_by_name(name)?;
        Ok(header.map(|header| elf.section_data(&header)).transpose()?.map(|(data, _)| data))
    };
    let pages = section(".xen_pages")?.context("the dump has no pages")?;
    // PV: (PFN, MFN) of each page; PVH: its PFN.
    let (table, size) = match (section(".xen_p2m")?, section(".xen_pfn")?) {
        (Some(table), _) => (table, 16),
        (None, Some(table)) => (table, 8),
        (None, None) => bail!("the dump does not list its pages"),
    };
    let mut places = HashMap::new();
    for (place, entry) in table.chunks_exact(size).enumerate() {
        let (pfn, _) = entry.split_first_chunk().context("an entry is cut")?;
        places.insert(u64::from_le_bytes(*pfn), place);
    }
    let mut text = Vec::new();
    for section in &image.sections {
        let mut address = section.physical_address;
        let mut left = section.contents.len();
        while left > 0 {
            let pfn = address / PAGE as u64;
            let place =
                places.get(&pfn).with_context(|| format!("no page {pfn:#x} in the dump"))?;
            let begin = usize::try_from(address % PAGE as u64)?;
            let count = left.min(PAGE - begin);
            let from = place * PAGE + begin;
            text.extend_from_slice(pages.get(from..from + count).context("the dump is cut")?);
            address += count as u64;
            left -= count;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_said_is_not_what_it_could_say() {
        let in_code = b"..\0\x016SMP: patched\n\0..";
        assert!(!is_in_kernel_log(in_code, b"SMP: patched"));
        let in_log = [&in_code[..], b"\0\0SMP: patched\0"].concat();
        assert!(is_in_kernel_log(&in_log, b"SMP: patched"));
    }
}
