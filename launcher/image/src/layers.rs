//! Layers into a disk: every stored byte and every tar byte is hashed on its way.
//!
//! One thread reads, checks and inflates, in order; this one checks diff IDs and converts. Between
//! them go buffers through a short queue, so memory does not grow with the image.

use crate::{
    converter::{ConvertError, Converter, Disk},
    digest::{Digest, HashingReader},
    failure::{Failure, FailureKind},
    limits::{LimitError, Limits},
    oci::{Layer, Plan},
    progress::Event,
};
use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Cursor, Read},
    rc::Rc,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// One buffer, and how many may wait.
const BUFFER_BYTES: usize = 256 << 10;
const BUFFERS: usize = 16;
/// How much of a rejected layer is still read to find out whether a wrong digest explains the error.
const EXPLAIN_BYTES: u64 = 64 << 20;
/// Bars need no more than this.
const EVENT_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LayersError {
    #[error(
        "layer {layer} of {image} has digest {found}, not {wanted}; it was changed or damaged on its way"
    )]
    Digest { image: String, layer: usize, found: Digest, wanted: Digest },
    #[error(
        "the contents of layer {layer} of {image} have digest {found}, not {wanted} as the image's config says"
    )]
    DiffId { image: String, layer: usize, found: Digest, wanted: Digest },
    #[error("layer {layer} of {image} has {found} bytes, not {wanted}")]
    Size { image: String, layer: usize, found: u64, wanted: u64 },
    #[error("layer {layer} of {image} is compressed with {method}; only gzip and zstd are known")]
    Compression { image: String, layer: usize, method: &'static str },
    #[error("layer {layer} of {image} is too large as stored")]
    Large { image: String, layer: usize, source: LimitError },
    #[error("layer {layer} of {image} does not decompress")]
    Inflate { image: String, layer: usize, source: io::Error },
}

impl From<LayersError> for Failure {
    fn from(error: LayersError) -> Self {
        let kind = match error {
            LayersError::Digest { .. } | LayersError::DiffId { .. } | LayersError::Size { .. } => {
                FailureKind::Mismatch
            }
            _ => FailureKind::Image,
        };
        Self::new(kind, &error)
    }
}

/// From the reading thread to the converting one.
enum Piece {
    Bytes {
        bytes: Vec<u8>,
        /// How much of the layer as stored was read so far.
        done: u64,
    },
    /// The layer ended, and its digest and size are right.
    End {
        /// All of it, as stored.
        done: u64,
    },
}

/// Why the reading thread stops within a layer.
enum Stop {
    /// The layer cannot be read.
    Read(io::Error),
    /// Converting failed.
    Unheard,
}

/// Converts the layers of `plan` into `out`.
pub(crate) fn convert(
    plan: Plan<'_>,
    out: File,
    image: &str,
    limits: &Limits,
    notify: &(dyn Fn(Event) + Sync),
) -> Result<Disk, Failure> {
    for (layer, number) in plan.layers.iter().zip(1..) {
        // What is stored may inflate to nothing at all.
        LimitError::check("max_layer_bytes", layer.bytes.unwrap_or(0), limits.max_layer_bytes)
            .map_err(|source| LayersError::Large {
                image: image.to_owned(),
                layer: number,
                source,
            })?;
    }
    notify(Event::Layers { bytes: plan.layers.iter().map(|l| l.bytes.unwrap_or(0)).collect() });
    let mut converter = Converter::new(out, limits)?;
    let wanted: Vec<_> = plan.layers.iter().map(|layer| layer.diff_id).collect();
    let hopeless = AtomicBool::new(false);
    let (sender, pieces) = sync_channel(BUFFERS);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_layers(plan.layers, image, sender, &hopeless));
        let applied = apply_layers(&mut converter, &wanted, pieces, image, notify);
        if let Err(Unapplied::Disk(_)) = &applied {
            hopeless.store(true, Ordering::Relaxed);
        }
        // What is wrong with the bytes as stored explains whatever the converter made of them.
        match (reader.join(), applied) {
            (Ok(Err(failure)), _) => Err(failure),
            (Err(panic), _) => std::panic::resume_unwind(panic),
            (Ok(Ok(())), applied) => applied.map_err(Unapplied::into_failure),
        }
    })?;
    notify(Event::Finishing);
    Ok(converter.finish()?)
}

/// Why layers were not applied.
enum Unapplied {
    /// The disk cannot be written, so reading on is pointless.
    Disk(Failure),
    Layer(Failure),
}

impl Unapplied {
    fn into_failure(self) -> Failure {
        match self {
            Self::Disk(failure) | Self::Layer(failure) => failure,
        }
    }
}

impl From<ConvertError> for Unapplied {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::Write(_) => Self::Disk(error.into()),
            error => Self::Layer(error.into()),
        }
    }
}

/// The converting side; `pieces` goes when this returns, which stops the reading side.
fn apply_layers(
    converter: &mut Converter,
    wanted: &[Option<Digest>],
    pieces: Receiver<Piece>,
    image: &str,
    notify: &(dyn Fn(Event) + Sync),
) -> Result<(), Unapplied> {
    for (index, wanted) in wanted.iter().enumerate() {
        let stream = Stream {
            pieces: &pieces,
            index,
            notify,
            told: 0,
            current: Cursor::default(),
            ended: false,
        };
        let mut hashing = HashingReader::new(stream);
        converter.apply_layer(&mut hashing)?;
        // The converter reads to the end, as far as it knows; the end is where the stream says.
        let drained = io::copy(&mut hashing, &mut io::sink());
        drained.map_err(|error| Unapplied::Layer(Failure::from_io(error, "read a layer")))?;
        let (_, diff_id) = hashing.finish();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != diff_id) {
            let (image, layer) = (image.to_owned(), index + 1);
            let error = LayersError::DiffId { image, layer, found: diff_id, wanted };
            return Err(Unapplied::Layer(error.into()));
        }
    }
    Ok(())
}

/// One layer's tar as the reading thread sends it.
struct Stream<'a> {
    pieces: &'a Receiver<Piece>,
    index: usize,
    notify: &'a (dyn Fn(Event) + Sync),
    told: u64,
    current: Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.ended {
                return Ok(count);
            }
            match self.pieces.recv() {
                Ok(Piece::Bytes { bytes, done }) => {
                    self.current = Cursor::new(bytes);
                    self.tell(done, EVENT_BYTES);
                }
                Ok(Piece::End { done }) => {
                    self.ended = true;
                    self.tell(done, 1);
                }
                // The reading thread has the reason.
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

impl Stream<'_> {
    fn tell(&mut self, done_bytes: u64, step: u64) {
        if done_bytes >= self.told + step {
            self.told = done_bytes;
            (self.notify)(Event::Layer { index: self.index, done_bytes });
        }
    }
}

/// The reading side.
fn read_layers(
    layers: Vec<Layer<'_>>,
    image: &str,
    pieces: SyncSender<Piece>,
    hopeless: &AtomicBool,
) -> Result<(), Failure> {
    for (layer, number) in layers.into_iter().zip(1..) {
        let heard = read_layer(layer, number, image, &pieces, hopeless)?;
        if !heard {
            break;
        }
    }
    Ok(())
}

/// Reads one layer to the end and checks its size and digest as stored. Returns whether the converter was
/// still listening.
fn read_layer(
    layer: Layer<'_>,
    number: usize,
    image: &str,
    pieces: &SyncSender<Piece>,
    hopeless: &AtomicBool,
) -> Result<bool, Failure> {
    let done = Rc::new(Cell::new(0));
    let counted = Counted { inner: (layer.open)()?, done: Rc::clone(&done) };
    let mut stored = BufReader::with_capacity(BUFFER_BYTES, HashingReader::new(counted));
    let mut head = Vec::new();
    let action = format!("read layer {number} of {image}");
    let from_io = |error| Failure::from_io(error, &action);
    (&mut stored).take(6).read_to_end(&mut head).map_err(from_io)?;
    let method = Compression::of(&head);
    let mut stored = Cursor::new(head).chain(stored);
    let passed = match method {
        Compression::None => pass(&mut stored, &done, pieces),
        Compression::Gzip => pass(flate2::bufread::MultiGzDecoder::new(&mut stored), &done, pieces),
        Compression::Zstd => match zstd::stream::read::Decoder::with_buffer(&mut stored) {
            Ok(decoder) => pass(decoder, &done, pieces),
            Err(error) => Err(Stop::Read(error)),
        },
        Compression::Unknown(method) => {
            let (image, layer) = (image.to_owned(), number);
            return Err(LayersError::Compression { image, layer, method }.into());
        }
    };
    let heard = !matches!(passed, Err(Stop::Unheard));
    if !heard && (layer.digest.is_none() || hopeless.load(Ordering::Relaxed)) {
        return Ok(false);
    }
    // A registry's own failure passes through the inflater unchanged.
    let broken = match passed {
        Err(Stop::Read(error)) if is_failure(&error) => return Err(from_io(error)),
        Err(Stop::Read(error)) => Some(error),
        _ => None,
    };
    // Whatever else went wrong, a wrong digest explains it, so the rest is read, if it is not much.
    let refused = !heard || broken.is_some();
    let most = if refused { EXPLAIN_BYTES } else { u64::MAX };
    if layer.digest.is_some() || broken.is_none() {
        let rest = io::copy(&mut (&mut stored).take(most), &mut io::sink()).map_err(from_io)?;
        if rest == most {
            let (image, layer) = (image.to_owned(), number);
            let inflate = |source| LayersError::Inflate { image, layer, source };
            return broken.map_or(Ok(false), |source| Err(inflate(source).into()));
        }
    }
    let (found_bytes, found) = stored.into_inner().1.into_inner().finish();
    let (image, layer_number) = (image.to_owned(), number);
    if let Some(wanted) = layer.bytes.filter(|wanted| *wanted != found_bytes) {
        let error = LayersError::Size { image, layer: layer_number, found: found_bytes, wanted };
        return Err(error.into());
    }
    if let Some(wanted) = layer.digest.filter(|wanted| *wanted != found) {
        return Err(LayersError::Digest { image, layer: layer_number, found, wanted }.into());
    }
    match broken {
        Some(source) => Err(LayersError::Inflate { image, layer: layer_number, source }.into()),
        None => Ok(heard && pieces.send(Piece::End { done: done.get() }).is_ok()),
    }
}

fn is_failure(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Failure>())
}

/// Sends all that `reader` has, in buffers.
fn pass(mut reader: impl Read, done: &Cell<u64>, pieces: &SyncSender<Piece>) -> Result<(), Stop> {
    loop {
        let mut bytes = Vec::with_capacity(BUFFER_BYTES);
        let read = (&mut reader).take(BUFFER_BYTES as u64).read_to_end(&mut bytes);
        let count = read.map_err(Stop::Read)?;
        if count == 0 {
            return Ok(());
        }
        pieces.send(Piece::Bytes { bytes, done: done.get() }).map_err(|_| Stop::Unheard)?;
    }
}

/// Counts for the progress bar.
struct Counted<R> {
    inner: R,
    done: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done.set(self.done.get() + count as u64);
        Ok(count)
    }
}

/// How a layer is compressed, by its first bytes, as Docker does: media types are often wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Unknown(&'static str),
}

impl Compression {
    /// `head` is the first six bytes.
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A skippable frame may come first, as in zstd:chunked.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41] => Self::Unknown("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Unknown("xz"),
            _ => Self::None,
        }
    }
}

/// How a file that should be a plain tar is compressed, if it is.
pub(crate) fn compression_of(head: &[u8]) -> Option<&'static str> {
    match Compression::of(head) {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
        Compression::Unknown(method) => Some(method),
    }
}

#[cfg(test)]
mod tests;
