//! Layers that are what they claim, and layers that are not.

use super::*;
use crate::failure::FailureKind;
use std::{io::Write as _, sync::Mutex};

/// A tar of one file, whose contents do not compress to nothing.
fn tar(contents: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(contents.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "file", contents).unwrap();
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn layer(tar: &[u8], stored: Vec<u8>) -> Layer<'static> {
    Layer {
        bytes: Some(stored.len() as u64),
        digest: Some(Digest::of(&stored)),
        diff_id: Some(Digest::of(tar)),
        open: Box::new(move || Ok(Box::new(Cursor::new(stored)))),
    }
}

fn convert_with(layers: Vec<Layer<'_>>, limits: &Limits) -> Result<(Vec<u8>, Vec<Event>), Failure> {
    let mut out = tempfile::tempfile().unwrap();
    let events = Mutex::new(Vec::new());
    let notify = |event| events.lock().unwrap().push(event);
    let plan = Plan { config: None, layers };
    convert(plan, out.try_clone().unwrap(), "x", limits, &notify)?;
    let mut disk = Vec::new();
    io::Seek::rewind(&mut out).unwrap();
    out.read_to_end(&mut disk).unwrap();
    Ok((disk, events.into_inner().unwrap()))
}

fn disk_of(layers: Vec<Layer<'_>>) -> Vec<u8> {
    convert_with(layers, &Limits::default()).unwrap().0
}

fn failure_of(layers: Vec<Layer<'_>>) -> (FailureKind, String) {
    let failure = convert_with(layers, &Limits::default()).map(drop).unwrap_err();
    (failure.kind, failure.message)
}

#[test]
fn plain_gzip_and_zstd_layers_give_the_same_disk() {
    let tar = tar(&[3; 700_000]);
    let plain = disk_of(vec![layer(&tar, tar.clone())]);
    assert!(plain == disk_of(vec![layer(&tar, gzip(&tar))]));
    assert!(plain == disk_of(vec![layer(&tar, zstd::encode_all(&tar[..], 1).unwrap())]));
    // As pigz and zstd:chunked write them: several members, a skippable frame.
    let (one, two) = tar.split_at(300_000);
    assert!(plain == disk_of(vec![layer(&tar, [gzip(one), gzip(two)].concat())]));
    let frames = [
        &[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..],
        &zstd::encode_all(one, 1).unwrap(),
        &zstd::encode_all(two, 1).unwrap(),
    ];
    assert!(plain == disk_of(vec![layer(&tar, frames.concat())]));
}

#[test]
fn several_layers_are_told_of_in_order() {
    let (one, two) = (tar(&[1; 3_000_000]), tar(b"two"));
    let layers = vec![layer(&one, one.clone()), layer(&two, gzip(&two))];
    let sizes = layers.iter().map(|layer| layer.bytes.unwrap()).collect();
    let (_, events) = convert_with(layers, &Limits::default()).unwrap();
    assert_eq!(events[0], Event::Layers { bytes: sizes });
    assert!(events.contains(&Event::Layer { index: 0, done_bytes: one.len() as u64 }));
    assert_eq!(events.last(), Some(&Event::Finishing));
}

#[test]
fn a_changed_layer_is_told_by_its_digest_whatever_it_breaks() {
    let tar = tar(&[1; 50_000]);
    for at in [0, 20, 100, 400] {
        for good in [tar.clone(), gzip(&tar)] {
            let mut bad = good.clone();
            let Some(byte) = bad.get_mut(at) else { continue };
            *byte ^= 0x55;
            let changed = Layer { digest: Some(Digest::of(&good)), ..layer(&tar, bad) };
            let (kind, message) = failure_of(vec![changed]);
            assert_eq!(kind, FailureKind::Mismatch, "{message}");
            assert!(message.contains("; it was changed or damaged"), "{message}");
        }
    }
}

#[test]
fn contents_other_than_the_config_says_are_refused() {
    let (tar, other) = (tar(b"one"), tar(b"other"));
    let (kind, message) = failure_of(vec![layer(&other, gzip(&tar))]);
    assert_eq!(kind, FailureKind::Mismatch);
    assert!(message.starts_with("the contents of layer 1 of x have digest"), "{message}");
}

#[test]
fn bytes_after_the_end_of_the_archive_are_hashed_too() {
    let mut tar = tar(b"one");
    tar.extend([0; 100_000]);
    disk_of(vec![layer(&tar, gzip(&tar))]);
}

#[test]
fn a_layer_of_another_size_is_refused() {
    let tar = tar(b"one");
    let lie = Layer { bytes: Some(7), ..layer(&tar, tar.clone()) };
    let (kind, message) = failure_of(vec![lie]);
    assert_eq!(kind, FailureKind::Mismatch);
    assert!(message.ends_with(" bytes, not 7"), "{message}");
}

#[test]
fn broken_and_unknown_compression_is_named() {
    let tar = tar(&[1; 5000]);
    let mut broken = gzip(&tar);
    broken.truncate(broken.len() / 2);
    let (kind, message) = failure_of(vec![layer(&tar, broken)]);
    assert_eq!(kind, FailureKind::Image);
    assert!(message.starts_with("layer 1 of x does not decompress: "), "{message}");
    let (_, message) = failure_of(vec![layer(&tar, b"\xfd7zXZ\0more".to_vec())]);
    assert!(message.contains("compressed with xz"), "{message}");
}

#[test]
fn a_bomb_is_stopped_at_its_limit_and_not_read_to_its_end() {
    /// The same frame again and again: reading it to its end would take for ever.
    struct Endless(Cursor<Vec<u8>>);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => {
                    self.0.set_position(0);
                    self.0.read(buffer)
                }
                count => Ok(count),
            }
        }
    }
    let frame = zstd::encode_all(&vec![0; 1 << 20][..], 1).unwrap();
    let limits = Limits { max_layer_bytes: 3 << 20, ..Limits::default() };
    let digest = Some(Digest::of(b"something else"));
    for (digest, bytes) in [(None, None), (digest, None), (digest, Some(u64::MAX))] {
        let frame = frame.clone();
        let open: crate::oci::Open<'_> =
            Box::new(move || Ok(Box::new(Endless(Cursor::new(frame)))));
        let bomb = Layer { bytes, digest, diff_id: None, open };
        let failure = convert_with(vec![bomb], &limits).map(drop).unwrap_err();
        assert!(failure.to_string().contains("max_layer_bytes"), "{failure}");
    }
}

#[test]
fn a_reader_that_fails_tells_its_own_reason() {
    let open: crate::oci::Open<'_> = Box::new(|| {
        let failure = Failure { kind: FailureKind::Unreachable, message: "gone".to_owned() };
        let broken = io::Error::other(failure);
        struct Broken(Option<io::Error>);
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(self.0.take().unwrap())
            }
        }
        let start = gzip(&tar(&[1; 90_000]))[..100].to_vec();
        Ok(Box::new(Cursor::new(start).chain(Broken(Some(broken)))))
    });
    let layer = Layer { bytes: None, digest: None, diff_id: None, open };
    assert_eq!(failure_of(vec![layer]), (FailureKind::Unreachable, "gone".to_owned()));
}
