//! Finds the differences between two texts of the same kernel.

use super::image::Image;
use std::fmt;

/// A run of bytes that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The section.
    pub section: String,
    /// Virtual address of the first byte.
    pub address: u64,
    /// The bytes after Linux's own patching.
    pub linux: Vec<u8>,
    /// The bytes after patching with the shortcuts.
    pub shortcuts: Vec<u8>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, address, linux, shortcuts } = self;
        write!(
            out,
            "{section} {address:#x}: Linux leaves {linux:02x?}, the shortcuts {shortcuts:02x?}"
        )
    }
}

/// Finds the runs of bytes that differ. Both texts are those of `image`, section after section.
pub(super) fn find(image: &Image, linux: &[u8], shortcuts: &[u8]) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    let mut last = None;
    for (offset, (left, right)) in linux.iter().zip(shortcuts).enumerate() {
        if left == right {
            continue;
        }
        let Some((section, address)) = image.locate(offset) else { break };
        match found.last_mut() {
            Some(run) if last == Some(offset - 1) && run.section == section.name => {
                run.linux.push(*left);
                run.shortcuts.push(*right);
            }
            _ => found.push(Difference {
                section: section.name.clone(),
                address,
                linux: vec![*left],
                shortcuts: vec![*right],
            }),
        }
        last = Some(offset);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::image::Section;
    use super::*;

    #[test]
    fn differing_bytes_are_told_by_section_and_address() {
        let section = |name: &str, virtual_address, contents: &[u8]| Section {
            name: name.into(),
            virtual_address,
            physical_address: 0,
            contents: contents.to_vec(),
        };
        let sections =
            vec![section(".text", 0x1000, &[0; 4]), section(".init.text", 0x2000, &[0; 2])];
        let image = Image { sections };
        let linux = [0, 1, 2, 3, 4, 5];
        assert_eq!(find(&image, &linux, &linux), []);
        let found = find(&image, &linux, &[0, 9, 9, 3, 4, 9]);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                ".text 0x1001: Linux leaves [01, 02], the shortcuts [09, 09]",
                ".init.text 0x2001: Linux leaves [05], the shortcuts [09]"
            ]
        );
    }
}
