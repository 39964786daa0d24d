//! The converter against unpacking and `mkfs.erofs`, side by side on the same gzip layers.
//!
//! ```text
//! cargo bench -p image --bench convert -- [--rounds N] LAYER.tar.gz...
//! ```
//!
//! Ours does what a pull does with a layer on disk: SHA-256 of the compressed and of the plain
//! bytes, inflate, merge, write. The other side is `gzip -dc | tar x` for each layer, then
//! `mkfs.erofs` of the tree, without digests and whiteouts. Rounds alternate, all input is read once
//! before, and both write to the same folder (TMPDIR). Both disks' inode counts are printed as proof
//! of equal work: they agree when the layers hide nothing of each other.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convert: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut rounds = 5;
    let mut layers = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            // What cargo adds.
            "--bench" | "--test" => {}
            _ => layers.push(PathBuf::from(argument)),
        }
    }
    if layers.is_empty() {
        println!(
            "nothing to measure: give gzip layers, bottom to top (see the file's first lines)"
        );
        return Ok(());
    }
    let mut plain = 0;
    for layer in &layers {
        let mut inflated = flate2::read::MultiGzDecoder::new(File::open(layer)?);
        plain += std::io::copy(&mut inflated, &mut std::io::sink())?;
    }
    println!("{} layers, {:.1} MB of tar, {rounds} rounds", layers.len(), mega(plain));
    let folder = tempfile::tempdir()?;
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for round in 1..=rounds {
        let our_disk = folder.path().join("ours.erofs");
        let their_disk = folder.path().join("theirs.erofs");
        let tree = folder.path().join("tree");
        ours.measure(|| convert(&layers, &our_disk))?;
        theirs.measure(|| unpack_and_pack(&layers, &tree, &their_disk))?;
        for (what, times, disk) in [(OURS, &ours, &our_disk), (THEIRS, &theirs, &their_disk)] {
            let (size, inodes) = (mega(disk.metadata()?.len()), inodes(disk)?);
            println!("round {round}: {what}: {}; {inodes} inodes, {size:.1} MB", times.last());
            std::fs::remove_file(disk)?;
        }
        std::fs::remove_dir_all(tree)?;
    }
    let (a, b) = (ours.medians(), theirs.medians());
    for (what, (clock, processor)) in [(OURS, a), (THEIRS, b)] {
        println!("median: {what}: {clock:.2} s, {processor:.2} s of processor");
    }
    println!("ratio: {:.2} of the time, {:.2} of the processor", a.0 / b.0, a.1 / b.1);
    Ok(())
}

const OURS: &str = "converter";
const THEIRS: &str = "unpack and mkfs.erofs";

/// Seconds of the clock and of the processor, one of each a round.
#[derive(Default)]
struct Times {
    clock: Vec<f64>,
    processor: Vec<f64>,
}

impl Times {
    fn measure(&mut self, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        let (start, before) = (Instant::now(), cpu_seconds()?);
        work()?;
        self.clock.push(start.elapsed().as_secs_f64());
        self.processor.push(cpu_seconds()? - before);
        Ok(())
    }

    fn last(&self) -> String {
        let [clock, processor] =
            [&self.clock, &self.processor].map(|times| times.last().copied().unwrap_or_default());
        format!("{clock:.2} s, {processor:.2} s of processor")
    }

    fn medians(self) -> (f64, f64) {
        let median = |mut times: Vec<f64>| {
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() / 2]
        };
        (median(self.clock), median(self.processor))
    }
}

/// Processor seconds of this process and of all it waited for: comparable on a busy machine too.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // After the name in brackets: state is field 3, the four times are fields 14 to 17.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u32 =
        rest.split_whitespace().skip(11).take(4).filter_map(|t| t.parse::<u32>().ok()).sum();
    // Linux shows these in 1/100 s on every machine (USER_HZ).
    Ok(f64::from(ticks) / 100.0)
}

fn convert(layers: &[PathBuf], disk: &Path) -> Result<(), Failure> {
    let disk = File::options().read(true).write(true).create_new(true).open(disk)?;
    let mut converter = image::Converter::new(disk, &image::Limits::default())?;
    for layer in layers {
        let blob = Hashed { inner: File::open(layer)?, hash: Sha256::new() };
        let blob = std::io::BufReader::with_capacity(64 << 10, blob);
        let plain =
            Hashed { inner: flate2::bufread::MultiGzDecoder::new(blob), hash: Sha256::new() };
        converter.apply_layer(plain)?;
    }
    converter.finish()?;
    Ok(())
}

fn unpack_and_pack(layers: &[PathBuf], tree: &Path, disk: &Path) -> Result<(), Failure> {
    std::fs::create_dir(tree)?;
    for layer in layers {
        shell("gzip -dc \"$1\" | tar -x --numeric-owner -p -C \"$2\"", &[layer, tree])?;
    }
    shell("mkfs.erofs \"$1\" \"$2\" >/dev/null", &[disk, tree])
}

fn shell(script: &str, paths: &[&Path]) -> Result<(), Failure> {
    let status = Command::new("sh").args(["-ec", script, "sh"]).args(paths).status()?;
    if status.success() { Ok(()) } else { Err(format!("`{script}` failed: {status}").into()) }
}

/// The superblock's count of inodes.
fn inodes(disk: &Path) -> Result<u64, Failure> {
    let mut count = [0; 8];
    File::open(disk)?.read_exact_at(&mut count, 1024 + 16)?;
    Ok(u64::from_le_bytes(count))
}

#[allow(clippy::cast_precision_loss)]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Takes the SHA-256 of everything that is read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
