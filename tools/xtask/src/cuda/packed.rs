//! Compiled files as they are committed: zlib streams, a quarter of the size. What a stream holds counts, not how well it was packed, so that
//! another version of the packer changes nothing.

use super::manifest::{Module, sha256};
use super::prebuilt_folder;
use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use std::io::Read;

/// The name of a compiled file as it is committed.
pub(super) fn packed_name(file: &str) -> String {
    format!("{file}.z")
}

/// The compiled file that a committed file holds, by name; none for any other file.
pub(super) fn unpacked_name(file: &str) -> Option<&str> {
    let name = file.strip_suffix(".z").unwrap_or(file);
    (name.ends_with(".cubin") || name.ends_with(".ptx")).then_some(name)
}

pub(super) fn pack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut packed = Vec::new();
    ZlibEncoder::new(bytes, Compression::best()).read_to_end(&mut packed).map_err(|error| error.to_string())?;
    Ok(packed)
}

/// What a stream holds, if that is `bytes` long.
pub(super) fn unpack(packed: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(bytes + 1);
    ZlibDecoder::new(packed).take(bytes as u64 + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() == bytes).then_some(unpacked)
}

/// The committed file, unpacked, if it is what the manifest says.
pub(super) fn committed(module: &Module) -> Option<Vec<u8>> {
    let packed = std::fs::read(prebuilt_folder().join(packed_name(&module.file))).ok()?;
    unpack(&packed, module.bytes).filter(|bytes| sha256(bytes) == module.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was packed comes back; a stream of another length, cut or changed gives nothing.
    #[test]
    fn packing_loses_nothing() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| ((i * i) >> 7) as u8).collect();
        let packed = pack(&bytes).unwrap();
        assert!(packed.len() < bytes.len());
        assert_eq!(unpack(&packed, bytes.len()).as_ref(), Some(&bytes));
        assert_eq!(unpack(&packed, bytes.len() - 1), None);
        assert_eq!(unpack(&packed, bytes.len() + 1), None);
        assert_eq!(unpack(&packed[..packed.len() - 1], bytes.len()), None);
        let mut changed = packed;
        let end = changed.len() - 1;
        changed[end] ^= 1;
        assert_eq!(unpack(&changed, bytes.len()), None);
    }

    #[test]
    fn names_of_compiled_files_are_told_from_others() {
        assert_eq!(packed_name("dense.sm_80.cubin"), "dense.sm_80.cubin.z");
        assert_eq!(unpacked_name("dense.sm_80.cubin.z"), Some("dense.sm_80.cubin"));
        assert_eq!(unpacked_name("dense.compute_80.ptx"), Some("dense.compute_80.ptx"));
        assert_eq!((unpacked_name("modules.rs"), unpacked_name("archive.z")), (None, None));
    }
}
