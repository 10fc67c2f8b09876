//! What a file may ask for. Every allocation that depends on file content is checked against these first.

/// Upper bounds on one file. The defaults hold any head CT with room to spare and keep one decoding thread below about 300 MB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes read of one file: all of it to decode it, the part in front of the pixel data to list it.
    pub max_file_bytes: usize,
    /// Bytes that a deflated data set may grow to.
    pub max_inflated_bytes: usize,
    /// Data elements in front of the pixel data, at every depth together.
    pub max_elements: usize,
    /// Nesting of sequences and items.
    pub max_depth: usize,
    /// (0028,0010).
    pub max_rows: usize,
    /// (0028,0011).
    pub max_cols: usize,
    /// (0028,0008).
    pub max_frames: usize,
    /// Fragments of encapsulated pixel data.
    pub max_fragments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 128 << 20,
            max_inflated_bytes: 64 << 20,
            max_elements: 1 << 20,
            max_depth: 64,
            max_rows: 4096,
            max_cols: 4096,
            max_frames: 1,
            max_fragments: 1 << 16,
        }
    }
}
