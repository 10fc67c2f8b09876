//! The packed-weight cache: what was written comes back, and whatever is wrong with a file means that there is no cache.

use radnet_kernels::packed_cache::{Key, open, write};
use std::fs;

fn key() -> Key {
    Key { model_sha256: "ab12".into(), isa: "avx2".into(), engine: "0.1.0".into() }
}

/// Write, read, write again: the same floats, and no temporary file stays.
#[test]
fn what_was_written_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let nested = directory.path().join("a").join("b");
    let floats: Vec<f32> = (0..10_007).map(|i| i as f32 * 0.37).collect();
    assert!(open(&nested, &key(), floats.len()).is_none());
    for _ in 0..2 {
        write(&nested, &key(), &floats).unwrap();
        assert_eq!(&open(&nested, &key(), floats.len()).unwrap()[..], &floats[..]);
    }
    assert_eq!(fs::read_dir(&nested).unwrap().count(), 1);
}

/// Another model, tier or engine, another length, a truncated, longer, foreign or flipped file, or one that others may write: all ignored.
#[test]
fn what_does_not_fit_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let (path, floats) = (key().path(directory.path()), vec![1.5f32; 1000]);
    let fresh = || write(directory.path(), &key(), &floats).unwrap();
    let cached = |key: &Key, len| open(directory.path(), key, len).is_some();
    fresh();
    assert!(cached(&key(), 1000) && !cached(&key(), 999) && !cached(&key(), usize::MAX));
    for other in
        [Key { model_sha256: "ab13".into(), ..key() }, Key { isa: "avx512".into(), ..key() }, Key { engine: "0.1.1".into(), ..key() }]
    {
        assert!(!cached(&other, 1000));
        fs::copy(&path, other.path(directory.path())).unwrap();
        assert!(!cached(&other, 1000), "a copy under another key's name");
    }
    let good = fs::read(&path).unwrap();
    for damage in [&good[..good.len() - 4], &good[..10], b"", &[&good[..], &[0; 4]].concat()] {
        fs::write(&path, damage).unwrap();
        assert!(!cached(&key(), 1000));
    }
    for at in [0, 8, 16, 24, 32, 40, 64, 999, good.len() - 1] {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        assert!(!cached(&key(), 1000), "byte {at}");
    }
    fresh();
    assert!(cached(&key(), 1000), "rewritten");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(!cached(&key(), 1000), "others may write it");
    }
}
