//! PAX extended headers: records that override and extend a tar header.

use super::number::{parse_decimal, parse_time};
use super::{ArchiveError, sparse};
use crate::limits::{LimitError, Limits, MAX_XATTRS};
use crate::tree::{Time, Xattr};

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What the PAX header before an entry says of it.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: sparse::PaxRecords,
}

impl Pax {
    /// Reads all records; of two with the same key the later counts, an empty value unsets.
    pub(super) fn parse(mut data: &[u8], limits: &Limits) -> Result<Self, ArchiveError> {
        let mut pax = Self::default();
        // Tar pads the data of the header, not the records; some writers end them with NULs.
        while !data.is_empty() && data[0] != 0 {
            let (key, value, rest) = split_record(data).ok_or(ArchiveError::Pax)?;
            data = rest;
            pax.set(key, value)?;
        }
        pax.finish_xattrs(limits)?;
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        let number = |value: &[u8]| {
            if value.is_empty() {
                return Ok(None);
            }
            parse_decimal(value).map(Some).ok_or(ArchiveError::Pax)
        };
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link_path = text(value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(parse_time(value).ok_or(ArchiveError::Pax)?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    if name.is_empty() || name.contains(&0) {
                        return Err(ArchiveError::Pax);
                    }
                    self.xattrs.push(Xattr { name: name.into(), value: value.into() });
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(name, value)?;
                }
            }
        }
        Ok(())
    }

    /// Sorts the attributes, keeps the last of each name, and checks the caps.
    fn finish_xattrs(&mut self, limits: &Limits) -> Result<(), ArchiveError> {
        // Stable, so that the last record of a name stands last among its equals.
        self.xattrs.sort_by(|a, b| a.name.cmp(&b.name));
        self.xattrs.reverse();
        self.xattrs.dedup_by(|later, kept| later.name == kept.name);
        self.xattrs.reverse();
        let too_long = |x: &&Xattr| x.name.len() > 255 || x.value.len() > usize::from(u16::MAX);
        if let Some(xattr) = self.xattrs.iter().find(too_long) {
            return Err(ArchiveError::XattrTooLong(xattr.name.escape_ascii().to_string()));
        }
        let bytes: usize = self.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
        let most = u64::from(limits.max_xattr_bytes);
        LimitError::check("max_xattr_bytes", bytes as u64, most).map_err(ArchiveError::Xattrs)?;
        let most = u64::from(limits.max_xattrs.min(MAX_XATTRS));
        LimitError::check("max_xattrs", self.xattrs.len() as u64, most)
            .map_err(ArchiveError::Xattrs)
    }
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
    if value.contains(&0) {
        return Err(ArchiveError::Pax);
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

/// Splits `LENGTH KEY=VALUE\n` off the front. Values are bytes and may hold newlines.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // A record's length has few digits; no need to look for the blank in megabytes of junk.
    let space = data.iter().take(20).position(|&b| b == b' ')?;
    let length = usize::try_from(parse_decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?;
    let (b'\n', record) = record.split_last()? else { return None };
    let equals = record.iter().position(|&b| b == b'=')?;
    if equals == 0 {
        return None;
    }
    Some((&record[..equals], &record[equals + 1..], &data[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
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

    fn parse(records: &[(&str, &[u8])]) -> Result<Pax, ArchiveError> {
        let data: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        Pax::parse(&data, &Limits::default())
    }

    #[test]
    fn values_may_hold_newlines_and_equal_signs() {
        let value = b"\x01\n12 path=x\n\0\x02";
        let pax = parse(&[("SCHILY.xattr.security.capability", value), ("path", b"a=b")]).unwrap();
        assert_eq!(&*pax.xattrs[0].value, value);
        assert_eq!(pax.path.unwrap(), b"a=b");
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_an_empty_one_unsets() {
        let pax = parse(&[
            ("uid", b"1"),
            ("uid", b"2"),
            ("gid", b"5"),
            ("gid", b""),
            ("SCHILY.xattr.user.b", b"old"),
            ("SCHILY.xattr.user.a", b"1"),
            ("SCHILY.xattr.user.b", b"new"),
        ])
        .unwrap();
        assert_eq!((pax.uid, pax.gid), (Some(2), None));
        let seen: Vec<_> = pax.xattrs.iter().map(|x| (&*x.name, &*x.value)).collect();
        assert_eq!(seen, [(&b"user.a"[..], &b"1"[..]), (b"user.b", b"new")]);
    }

    #[test]
    fn damaged_records_are_errors() {
        let limits = Limits::default();
        for bad in
            ["5 a=b", "99 a=b\n", "0 a=b\n", "3\n", "x a=b\n", "6 =ab\n", "6 abc\n", " 6 a=b\n"]
        {
            assert!(matches!(Pax::parse(bad.as_bytes(), &limits), Err(ArchiveError::Pax)), "{bad}");
        }
        for (key, value) in [("path", &b"a\0b"[..]), ("uid", b"-1"), ("mtime", b"now")] {
            assert!(matches!(parse(&[(key, value)]), Err(ArchiveError::Pax)), "{key}");
        }
    }

    #[test]
    fn attributes_are_counted_and_weighed() {
        let many: Vec<(String, Vec<u8>)> =
            (0..200).map(|i| (format!("SCHILY.xattr.user.{i}"), vec![0])).collect();
        let data: Vec<u8> = many.iter().flat_map(|(k, v)| record(k, v)).collect();
        let limits = Limits { max_xattrs: 1000, ..Limits::default() };
        let error = Pax::parse(&data, &limits).unwrap_err();
        assert!(matches!(&error, ArchiveError::Xattrs(e) if e.name == "max_xattrs"), "{error}");
        let data: Vec<u8> = (0..5)
            .flat_map(|i| record(&format!("SCHILY.xattr.user.{i}"), &vec![7; 60 * 1024]))
            .collect();
        let error = Pax::parse(&data, &Limits::default()).unwrap_err();
        assert!(matches!(&error, ArchiveError::Xattrs(e) if e.name == "max_xattr_bytes"));
    }
}
