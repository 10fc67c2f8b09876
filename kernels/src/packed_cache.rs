//! Packed weights kept in a file of our own, so that a second start is instant and processes share the pages.
//!
//! One file per model, tier and layout: a header of 64 bytes (magic, layout version, length, checksum of the floats, hash of the key), then
//! the floats. It is written to a temporary name in the same directory and renamed, so that a reader sees a whole file or none. This is
//! the only file that is ever mapped: nobody else writes into it in place, and whatever is wrong with it is noticed here and means
//! "no cache", never an error.

use memmap2::Mmap;
use rayon::prelude::*;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Changes whenever the meaning of packed weights does.
const LAYOUT_VERSION: u64 = 4;
const MAGIC: [u8; 8] = *b"RADNETpk";
const HEADER: usize = 64;

/// What packed weights belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// SHA-256 of the model file, in hexadecimal.
    pub model_sha256: String,
    /// Name of the tier.
    pub isa: String,
    /// Version of the engine.
    pub engine: String,
}

impl Key {
    fn hash(&self) -> u64 {
        checksum(format!("{}/{}/{}/{LAYOUT_VERSION}", self.model_sha256, self.isa, self.engine).as_bytes())
    }

    /// Where the file lies in the cache directory.
    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("radnet-{:016x}.packed", self.hash()))
    }
}

/// Mapped floats.
#[derive(Debug)]
pub struct Packed {
    map: Mmap,
    len: usize,
}

impl Deref for Packed {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `open` checked that the map holds the header and `len` floats; a map starts on a page and the header is 64 bytes, so the
        // floats are aligned; every bit pattern is an f32.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(HEADER).cast(), self.len) }
    }
}

/// The cached floats of `key`, if a whole and unchanged file with exactly `len` of them is there.
pub fn open(directory: &Path, key: &Key, len: usize) -> Option<Packed> {
    let file = File::open(key.path(directory)).ok()?;
    let metadata = file.metadata().ok()?;
    let bytes = len.checked_mul(4)?.checked_add(HEADER)?;
    if !metadata.is_file() || metadata.len() != bytes as u64 || !private(&metadata) {
        return None;
    }
    // SAFETY: only this module writes such files, whole and under another name until they are complete, and it never changes or shortens
    // one; `private` excludes files that other accounts could truncate under us.
    let map = unsafe { Mmap::map(&file) }.ok()?;
    let valid = map.len() == bytes && map[..HEADER] == header(key, &map[HEADER..]);
    valid.then_some(Packed { map, len })
}

/// Writes the floats of `key`; a reader sees the old file, the new one or none.
///
/// # Errors
/// What the file system says; nothing is left behind.
pub fn write(directory: &Path, key: &Key, floats: &[f32]) -> io::Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(directory)?;
    // SAFETY: floats are plain bytes.
    let bytes = unsafe { std::slice::from_raw_parts(floats.as_ptr().cast::<u8>(), size_of_val(floats)) };
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = key.path(directory);
    let part = path.with_extension(format!("{}-{serial}.part", std::process::id()));
    let written = create(&part).and_then(|mut file| {
        file.write_all(&header(key, bytes))?;
        // Not synced: what a power cut tears fails its checksum, and then there is no cache.
        file.write_all(bytes)
    });
    let done = written.and_then(|()| fs::rename(&part, &path));
    if done.is_err() {
        let _ = fs::remove_file(&part);
    }
    done
}

/// A new file that only its owner can write.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.open(path)
}

/// Whether no other account may write the file.
#[cfg(unix)]
fn private(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn private(_: &fs::Metadata) -> bool {
    true
}

fn header(key: &Key, floats: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let fields = [LAYOUT_VERSION, floats.len() as u64, checksum(floats), key.hash(), 1.5f64.to_bits()];
    header[..8].copy_from_slice(&MAGIC);
    // The last field is in the machine's own byte order: a file from a foreign one does not fit.
    for (slot, field) in header[8..].chunks_exact_mut(8).zip(fields) {
        slot.copy_from_slice(&field.to_ne_bytes());
    }
    header
}

/// Bytes whose sum is one thread's work.
const CHUNK: usize = 1 << 20;
const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;

/// The sums of all chunks in order, and the length; in parallel on the current pool.
fn checksum(bytes: &[u8]) -> u64 {
    let sums: Vec<u64> = match rayon::current_thread_index() {
        Some(_) => bytes.par_chunks(CHUNK).map(chunk_sum).collect(),
        None => bytes.chunks(CHUNK).map(chunk_sum).collect(),
    };
    folded(bytes.len() as u64, &sums)
}

/// Four interleaved multiply-xor sums of 64-bit words and the tail bytes: quick, and any torn or flipped part shows.
fn chunk_sum(bytes: &[u8]) -> u64 {
    let mut sums = [1u64, 2, 3, 4];
    let blocks = bytes.chunks_exact(32);
    let mut tail = [0; 32];
    tail[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    for block in blocks.chain(std::iter::once(&tail[..])) {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = (*sum ^ u64::from_ne_bytes(*word)).wrapping_mul(PRIME).rotate_left(29);
        }
    }
    folded(bytes.len() as u64, &sums)
}

fn folded(start: u64, sums: &[u64]) -> u64 {
    sums.iter().fold(start, |h, s| (h ^ s).wrapping_mul(PRIME).rotate_left(31))
}
