//! Layers made by hand, entry by entry, down to the odd bytes real and hostile archives have.

use tar::{EntryType, Header};

/// A layer under construction: a tar stream without its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    bytes: Vec<u8>,
    /// PAX records for the next entry.
    pax: Vec<u8>,
}

/// Owner, permissions and time of the next entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
}

impl Meta {
    pub(crate) const fn mode(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 1_700_000_000 }
    }
}

const FILE: Meta = Meta::mode(0o644);
const DIRECTORY: Meta = Meta::mode(0o755);

impl Layer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, "", FILE, data)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, "", DIRECTORY, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Symlink, target, Meta::mode(0o777), b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Link, target, FILE, b"")
    }

    pub(crate) fn fifo(self, name: &str) -> Self {
        self.entry(name, EntryType::Fifo, "", FILE, b"")
    }

    pub(crate) fn device(self, name: &str, kind: EntryType, major: u32, minor: u32) -> Self {
        let mut header = header(name.as_bytes(), kind, b"", FILE, 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.raw_entry(&header, b"")
    }

    /// An entry with all its usual fields.
    pub(crate) fn entry(
        self,
        name: &str,
        kind: EntryType,
        target: &str,
        meta: Meta,
        data: &[u8],
    ) -> Self {
        self.entry_bytes(name.as_bytes(), kind, target.as_bytes(), meta, data)
    }

    pub(crate) fn entry_bytes(
        mut self,
        name: &[u8],
        kind: EntryType,
        target: &[u8],
        meta: Meta,
        data: &[u8],
    ) -> Self {
        if name.len() > 100 {
            self = self.gnu_long(b'L', name);
        }
        if target.len() > 100 {
            self = self.gnu_long(b'K', target);
        }
        let name = &name[..name.len().min(100)];
        let target = &target[..target.len().min(100)];
        self.raw_entry(&header(name, kind, target, meta, data.len() as u64), data)
    }

    /// A GNU long name (`L`) or long link (`K`) for the next entry.
    pub(crate) fn gnu_long(self, kind: u8, text: &[u8]) -> Self {
        let mut data = text.to_vec();
        data.push(0);
        let head = header(b"././@LongLink", EntryType::new(kind), b"", FILE, data.len() as u64);
        self.append(head.as_bytes(), &data)
    }

    /// A PAX record for the next entry.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.pax.extend_from_slice(&record(key, value));
        self
    }

    /// An entry whose header is as given, after the PAX header if there are records for one.
    pub(crate) fn raw_entry(mut self, header: &Header, data: &[u8]) -> Self {
        let records = std::mem::take(&mut self.pax);
        if !records.is_empty() {
            self = self.pax_header(b'x', &records);
        }
        self.append(header.as_bytes(), data)
    }

    /// A PAX header (`x` or `g`) with these bytes as its records.
    pub(crate) fn pax_header(self, kind: u8, records: &[u8]) -> Self {
        let head = header(b"PaxHeaders/x", EntryType::new(kind), b"", FILE, records.len() as u64);
        self.append(head.as_bytes(), records)
    }

    /// Bytes as they are, with `data` padded to whole blocks.
    pub(crate) fn append(mut self, head: &[u8], data: &[u8]) -> Self {
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// The finished archive.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    /// The archive without its end.
    pub(crate) fn unfinished(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

/// A GNU header; `name` and `target` of 100 bytes have no NUL behind them.
pub(crate) fn header(name: &[u8], kind: EntryType, target: &[u8], meta: Meta, size: u64) -> Header {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..target.len()].copy_from_slice(target);
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_uid(meta.uid);
    header.set_gid(meta.gid);
    header.set_mtime(meta.mtime);
    header.set_size(size);
    header.set_cksum();
    header
}

/// One PAX record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = 3 + key.len() + value.len();
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    let mut out = format!("{length} {key}=").into_bytes();
    out.extend_from_slice(value);
    out.push(b'\n');
    out
}
