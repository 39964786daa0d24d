//! The start set: reading ahead what the app will want of its image, and finding that out.
//!
//! Nothing here may hold up the app or end it: each error ends the reading or the search, and
//! the app reads for itself.

use contract::start_set::{MAX_PAGES, PAGE_BYTES, Range};
use contract::{StartSet, store as nodes};
use rustix::fs::{
    Advice, Dir, FileType, Mode, OFlags, ResolveFlags, SeekFrom, fadvise, openat, openat2, seek,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use xen::store::Store;

/// The kernel reads no more than a device's read-ahead (128 KiB) at one word of advice.
const PAGES_AT_ONCE: u32 = 32;
/// Of the memory that is free at the start, reading ahead takes at most this share.
const MEMORY_SHARE: u64 = 3;
/// What is looked at as one: 16 KiB.
const GRAIN_PAGES: u32 = 4;
/// Into how many parts a stretch is split that is partly in memory.
const PARTS: u32 = 8;
/// How far the kernel reads ahead while the set is found out, in KiB: what it reads for good measure would
/// be taken for what the app wants.
const SPARING_KIB: libc::c_ulong = 16;
/// How far it does otherwise (`VM_READAHEAD_PAGES`).
const USUAL_KIB: libc::c_ulong = 128;
/// What counts as an app's start.
const START: Duration = Duration::from_secs(5);
/// How long the search may take.
const SEARCH: Duration = Duration::from_secs(5);
/// The most files and folders that are looked at, and the deepest folder.
const MAX_ENTRIES: usize = 50_000;
const MAX_DEPTH: usize = 64;

/// An image's disk and the file system on it, open.
#[derive(Debug)]
pub struct Image {
    /// The disk.
    pub disk: OwnedFd,
    /// The file system's root.
    pub root: OwnedFd,
    /// Whether dom0 wants to know the start set, as far as it was asked.
    pub wants_set: Arc<AtomicBool>,
}

impl Image {
    /// Another hold on the same.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let wants_set = Arc::clone(&self.wants_set);
        Ok(Self { disk: self.disk.try_clone()?, root: self.root.try_clone()?, wants_set })
    }
}

/// What dom0 knows of the image's start set.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// It does not want to know.
    Unwanted,
    /// Nothing yet.
    Nothing,
    /// All of it.
    Set(StartSet),
}

/// Asks dom0 for the start set. Whatever is wrong with it counts as unwanted.
#[must_use]
pub fn receive(xenstore: &Store) -> Known {
    read(xenstore).unwrap_or(Known::Unwanted)
}

fn read(xenstore: &Store) -> Option<Known> {
    let head = xenstore.read_optional(nodes::START_SET).ok()??;
    let read = |path: &str| xenstore.read_optional(path);
    let json = nodes::join(nodes::START_SET, &head, nodes::MAX_START_SET_CHUNKS, read).ok()?;
    match json.as_str() {
        "" => Some(Known::Nothing),
        json => StartSet::parse(json).ok().map(Known::Set),
    }
}

/// Has the kernel read `set`; returns while it still reads.
pub fn read_ahead(image: &Image, set: &StartSet) {
    let info = rustix::system::sysinfo();
    let free = u64::from(info.mem_unit).saturating_mul(info.freeram);
    let mut pages_left = u32::try_from(free / MEMORY_SHARE / PAGE_BYTES).unwrap_or(u32::MAX);
    advise_all(&image.disk, &set.disk, &mut pages_left);
    for (path, ranges) in &set.files {
        if pages_left == 0 {
            return;
        }
        // Not through a link: what is there is no regular file any more.
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        if let Ok(file) = openat2(&image.root, path, READ, Mode::empty(), within) {
            advise_all(&file, ranges, &mut pages_left);
        }
    }
}

/// Opening a fifo or device of the image must not block.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn advise_all(file: &OwnedFd, ranges: &[Range], pages_left: &mut u32) {
    for Range(first, count) in ranges {
        let count = (*count).min(*pages_left);
        *pages_left -= count;
        for done in (0..count).step_by(PAGES_AT_ONCE as usize) {
            let start = u64::from(*first) + u64::from(done);
            let length = u64::from(PAGES_AT_ONCE.min(count - done)) * PAGE_BYTES;
            let _ = fadvise(file, start * PAGE_BYTES, NonZeroU64::new(length), Advice::WillNeed);
        }
    }
}

/// Works out what of the image is in memory; gives up at `deadline` with what it has.
///
/// # Errors
/// The kernel does not tell.
pub fn find_out(image: &Image, deadline: Instant) -> Result<StartSet, Errno> {
    // The disk first: looking for files reads more of it.
    let disk = cached_ranges(&image.disk)?;
    let covered = disk.iter().fold(0, |sum: u32, range| sum.saturating_add(range.1));
    let mut search = Search { files: vec![], pages: covered, entries_left: MAX_ENTRIES, deadline };
    let root = openat(&image.root, ".", READ | OFlags::DIRECTORY, Mode::empty())?;
    search.folder(root, &mut String::new(), 0);
    Ok(StartSet { disk, files: search.files })
}

struct Search {
    files: Vec<(String, Vec<Range>)>,
    /// How many were found.
    pages: u32,
    entries_left: usize,
    deadline: Instant,
}

impl Search {
    fn is_over(&self) -> bool {
        self.pages >= MAX_PAGES || self.entries_left == 0 || Instant::now() >= self.deadline
    }

    fn folder(&mut self, folder: OwnedFd, path: &mut String, depth: usize) {
        let Ok(mut entries) = Dir::new(folder) else { return };
        while let Some(Ok(entry)) = entries.read() {
            if self.is_over() {
                return;
            }
            self.entries_left -= 1;
            let Some(name) = plain_name(entry.file_name()) else { continue };
            let Ok(here) = entries.fd() else { return };
            let before = path.len();
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name);
            match entry.file_type() {
                FileType::Directory if depth < MAX_DEPTH => {
                    if let Ok(below) = open_in(here, name, OFlags::DIRECTORY) {
                        self.folder(below, path, depth + 1);
                    }
                }
                FileType::RegularFile => self.file(here, name, path),
                _ => {}
            }
            path.truncate(before);
        }
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &str, path: &str) {
        let ranges = open_in(folder, name, OFlags::NOATIME).and_then(|file| cached_ranges(&file));
        let ranges = ranges.unwrap_or_default();
        if !ranges.is_empty() {
            self.pages = ranges.iter().fold(self.pages, |sum, range| sum.saturating_add(range.1));
            self.files.push((path.to_owned(), ranges));
        }
    }
}

fn plain_name(name: &CStr) -> Option<&str> {
    name.to_str().ok().filter(|name| !matches!(*name, "." | ".."))
}

fn open_in(folder: BorrowedFd<'_>, name: &str, more: OFlags) -> Result<OwnedFd, Errno> {
    openat(folder, name, READ | OFlags::NOFOLLOW | more, Mode::empty())
}

/// The ranges of a file or disk that are in memory, a little rounded up.
fn cached_ranges(file: &OwnedFd) -> Result<Vec<Range>, Errno> {
    let pages = seek(file, SeekFrom::End(0))?.div_ceil(PAGE_BYTES);
    let mut found = Vec::new();
    collect(file, 0, u32::try_from(pages).unwrap_or(u32::MAX), &mut found)?;
    Ok(found)
}

fn collect(file: &OwnedFd, first: u32, count: u32, found: &mut Vec<Range>) -> Result<(), Errno> {
    if count == 0 {
        return Ok(());
    }
    let cached = cached_pages(file, first, count)?;
    if cached == 0 {
        return Ok(());
    }
    if cached >= u64::from(count) || count <= GRAIN_PAGES {
        match found.last_mut() {
            Some(Range(start, length)) if *start + *length == first => *length += count,
            _ => found.push(Range(first, count)),
        }
        return Ok(());
    }
    let part = count.div_ceil(PARTS).next_multiple_of(GRAIN_PAGES);
    for done in (0..count).step_by(part as usize) {
        collect(file, first + done, part.min(count - done), found)?;
    }
    Ok(())
}

/// `struct cachestat_range` and `struct cachestat` of `linux/mman.h`.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    length: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// `_IO(0x12, 98)` of `linux/fs.h`.
const BLKRASET: libc::c_ulong = 0x1262;

/// `__NR_cachestat`, Linux 6.5.
const CACHESTAT: libc::c_long = 451;

fn cached_pages(file: &OwnedFd, first: u32, count: u32) -> Result<u64, Errno> {
    let range = CachestatRange {
        offset: u64::from(first) * PAGE_BYTES,
        length: u64::from(count) * PAGE_BYTES,
    };
    let mut answer = Cachestat::default();
    // SAFETY: the kernel reads `range` and writes `answer`, both of its own layout and alive.
    let result =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut answer, 0) };
    match result {
        0 => Ok(answer.cached),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOSYS)),
    }
}

/// Has the kernel read ahead what dom0 knows of the image; where it wants to know that, has it read little
/// ahead, so that what the app wants can be told.
pub fn prepare(image: &Image, known: &Known) {
    match known {
        Known::Set(set) => read_ahead(image, set),
        Known::Nothing => {
            set_read_ahead(image, SPARING_KIB);
            image.wants_set.store(true, Ordering::Relaxed);
        }
        Known::Unwanted => {}
    }
}

/// Sets how far the kernel reads ahead in files of the image that are opened from now on.
fn set_read_ahead(image: &Image, kib: libc::c_ulong) {
    // Where it cannot be set, more is read than is needed.
    // SAFETY: this request takes a number, of 512-byte sectors, and touches no memory of ours.
    let _ = unsafe { libc::ioctl(image.disk.as_raw_fd(), BLKRASET, kib * 2) };
}

/// Finds the start set out, once the app has its start behind it, where dom0 asks for that.
#[derive(Debug)]
pub struct Recorder {
    enough: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Recorder {
    /// Begins; to be called when the app runs. `None` if it cannot be.
    #[must_use]
    pub fn begin(image: &Image) -> Option<Self> {
        let image = image.try_clone().ok()?;
        let (enough, wait) = mpsc::channel();
        let thread = thread::spawn(move || {
            // Only this thread: it is not to take the app's time.
            let _ = rustix::process::nice(19);
            let _ = wait.recv_timeout(START);
            if !image.wants_set.load(Ordering::Relaxed) {
                return;
            }
            set_read_ahead(&image, USUAL_KIB);
            // Without it later starts are as slow as this one.
            let found = find_out(&image, Instant::now() + SEARCH);
            if let (Ok(set), Ok(xenstore)) = (found, Store::connect()) {
                let _ = report(&xenstore, &set);
            }
        });
        Some(Self { enough, thread })
    }

    /// Waits for the end of the search, which starts now if it has not.
    pub fn finish(self) {
        drop(self.enough);
        // Had it failed there would be no start set, as in many cases.
        let _ = self.thread.join();
    }
}

/// Tells dom0 the start set.
///
/// # Errors
/// xenstored refuses, or is not there.
pub fn report(xenstore: &Store, set: &StartSet) -> Result<(), xen::store::StoreError> {
    let json = set.render(nodes::MAX_START_SET_BYTES);
    let found = nodes::nodes(nodes::FOUND_START_SET, &json, nodes::FOUND_CHUNK_BYTES);
    let mut all = found.others.iter().chain([&found.head]);
    all.try_for_each(|(path, value)| xenstore.write(path, value))
}
