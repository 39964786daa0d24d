//! Extended attributes: every distinct one stored once, in the shared area.

use super::format::put;
use crate::tree::{InodeId, Xattr};
use std::collections::HashMap;

/// Bytes before the list of ids behind an inode (`struct erofs_xattr_ibody_header`).
const HEADER_BYTES: usize = 12;

/// Splits a full name into EROFS' prefix index and the rest, or `None` if EROFS has no prefix
/// for it: such attributes (`btrfs.compression`) belong to the file system a layer was packed on.
///
/// `trusted.overlay.*` are dropped too. They are marks of the machine that packed the layer, and
/// the guest's own overlay would obey them.
pub(super) fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    const WHOLE: [(&[u8], u8); 2] =
        [(b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3)];
    const PREFIXES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
    if name.starts_with(b"trusted.overlay.") {
        return None;
    }
    if let Some((_, index)) = WHOLE.iter().find(|(whole, _)| *whole == name) {
        return Some((*index, b""));
    }
    PREFIXES.iter().find_map(|(prefix, index)| {
        name.strip_prefix(*prefix).filter(|rest| !rest.is_empty()).map(|rest| (*index, rest))
    })
}

/// The shared area and who uses what of it.
#[derive(Debug, Default)]
pub(super) struct SharedXattrs {
    area: Vec<u8>,
    /// An entry's bytes to its place in the area, in units of 4 bytes.
    ids: HashMap<Vec<u8>, u32>,
    used: HashMap<InodeId, Vec<u32>>,
}

impl SharedXattrs {
    /// Stores the attributes of `id`.
    pub(super) fn add(&mut self, id: InodeId, xattrs: &[Xattr]) {
        let mut list = Vec::new();
        for xattr in xattrs {
            let Some((index, rest)) = split_name(&xattr.name) else { continue };
            let Some(entry) = render_entry(index, rest, &xattr.value) else { continue };
            let next = u32::try_from(self.area.len() / 4).unwrap_or(u32::MAX);
            let place = *self.ids.entry(entry).or_insert_with_key(|entry| {
                self.area.extend_from_slice(entry);
                next
            });
            list.push(place);
        }
        if !list.is_empty() {
            self.used.insert(id, list);
        }
    }

    /// How many attributes of `id` are stored.
    pub(super) fn count(&self, id: InodeId) -> usize {
        self.used.get(&id).map_or(0, Vec::len)
    }

    /// Bytes behind the inode of `id`.
    pub(super) fn body_bytes(&self, id: InodeId) -> usize {
        match self.count(id) {
            0 => 0,
            count => HEADER_BYTES + 4 * count,
        }
    }

    /// Writes what stands behind the inode of `id`; `out` has [`SharedXattrs::body_bytes`].
    pub(super) fn write_body(&self, id: InodeId, out: &mut [u8]) {
        let Some(list) = self.used.get(&id) else { return };
        out[4] = u8::try_from(list.len()).unwrap_or(u8::MAX);
        for (at, place) in list.iter().enumerate() {
            put(out, HEADER_BYTES + 4 * at, &place.to_le_bytes());
        }
    }

    /// The area's bytes.
    pub(super) fn area(&self) -> &[u8] {
        &self.area
    }
}

/// One attribute as stored, padded to 4 bytes. The archive's reader refused what is too long.
fn render_entry(index: u8, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let mut entry = vec![u8::try_from(name.len()).ok()?, index];
    entry.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
    entry.extend_from_slice(name);
    entry.extend_from_slice(value);
    entry.resize(entry.len().next_multiple_of(4), 0);
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_by_the_kernels_prefixes() {
        assert_eq!(split_name(b"user.a"), Some((1, &b"a"[..])));
        assert_eq!(split_name(b"system.posix_acl_access"), Some((2, &b""[..])));
        assert_eq!(split_name(b"system.posix_acl_default"), Some((3, &b""[..])));
        assert_eq!(split_name(b"trusted.x.y"), Some((4, &b"x.y"[..])));
        assert_eq!(split_name(b"security.capability"), Some((6, &b"capability"[..])));
        for name in
            [&b"user."[..], b"user", b"system.nfs4_acl", b"btrfs.x", b"trusted.overlay.opaque"]
        {
            assert_eq!(split_name(name), None);
        }
    }

    #[test]
    fn equal_attributes_are_stored_once() {
        let xattr = |value: &[u8]| Xattr { name: b"user.a"[..].into(), value: value.into() };
        let mut shared = SharedXattrs::default();
        let [a, b, c] = [InodeId::test(1), InodeId::test(2), InodeId::test(3)];
        shared.add(a, &[xattr(b"1")]);
        shared.add(b, &[xattr(b"1")]);
        shared.add(c, &[xattr(b"2")]);
        assert_eq!(shared.area().len(), 16);
        assert_eq!(shared.used[&a], shared.used[&b]);
        assert_ne!(shared.used[&a], shared.used[&c]);
    }
}
