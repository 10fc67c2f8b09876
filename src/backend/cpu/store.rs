//! Packed weights: made here, or mapped from the cache of an earlier start.

use super::PackedCache;
use crate::{Error, ErrorKind, Result};
use radnet_kernels::Buffer;
use radnet_kernels::packed_cache::{self, Key, Packed};
use std::ops::Deref;

/// The packed weights of a model.
pub(super) enum Store {
    Owned(Buffer),
    Mapped(Packed),
}

impl Deref for Store {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Owned(buffer) => buffer,
            Self::Mapped(packed) => packed,
        }
    }
}

impl Store {
    /// `len` floats of that kind (tier and arithmetic) from the cache, or from `pack` when there is none or it does not fit; then the cache
    /// is written anew. A cache that cannot be written costs the next start some time and nothing else.
    pub(super) fn new(len: usize, cache: Option<&PackedCache>, kind: &str, pack: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<Self> {
        let key = cache.map(|c| Key { model_sha256: c.model_sha256.clone(), isa: kind.into(), engine: env!("CARGO_PKG_VERSION").into() });
        if let (Some(cache), Some(key)) = (cache, &key)
            && let Some(packed) = packed_cache::open(&cache.directory, key, len)
        {
            return Ok(Self::Mapped(packed));
        }
        let mut buffer =
            Buffer::in_small_pages(len).ok_or_else(|| Error::new(ErrorKind::OutOfMemory, format!("no memory for {len} packed weights")))?;
        pack(&mut buffer)?;
        buffer.allow_huge_pages();
        if let (Some(cache), Some(key)) = (cache, &key) {
            let _ = packed_cache::write(&cache.directory, key, &buffer);
        }
        Ok(Self::Owned(buffer))
    }
}
