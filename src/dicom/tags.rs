//! The tags that the engine reads.

use std::fmt;

/// A tag, ordered as in a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u32);

impl Tag {
    pub(crate) const fn new(group: u16, element: u16) -> Self {
        Self((group as u32) << 16 | element as u32)
    }

    pub(crate) const fn group(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.group(), self.0 & 0xFFFF)
    }
}

macro_rules! tags {
    ($($name:ident = $group:literal, $element:literal;)*) => {
        $(pub(crate) const $name: Tag = Tag::new($group, $element);)*
        /// What the prescan keeps, in the order of tags.
        pub(crate) const WANTED: &[Tag] = &[$($name),*];
    };
}

tags! {
    IMAGE_TYPE = 0x0008, 0x0008;
    SOP_CLASS_UID = 0x0008, 0x0016;
    SOP_INSTANCE_UID = 0x0008, 0x0018;
    MODALITY = 0x0008, 0x0060;
    MANUFACTURER = 0x0008, 0x0070;
    SERIES_DESCRIPTION = 0x0008, 0x103E;
    CONTRAST_BOLUS_AGENT = 0x0018, 0x0010;
    BODY_PART = 0x0018, 0x0015;
    SLICE_THICKNESS = 0x0018, 0x0050;
    GANTRY_TILT = 0x0018, 0x1120;
    CONVOLUTION_KERNEL = 0x0018, 0x1210;
    STUDY_INSTANCE_UID = 0x0020, 0x000D;
    SERIES_INSTANCE_UID = 0x0020, 0x000E;
    SERIES_NUMBER = 0x0020, 0x0011;
    INSTANCE_NUMBER = 0x0020, 0x0013;
    IMAGE_POSITION = 0x0020, 0x0032;
    IMAGE_ORIENTATION = 0x0020, 0x0037;
    SAMPLES_PER_PIXEL = 0x0028, 0x0002;
    PHOTOMETRIC = 0x0028, 0x0004;
    NUMBER_OF_FRAMES = 0x0028, 0x0008;
    ROWS = 0x0028, 0x0010;
    COLUMNS = 0x0028, 0x0011;
    PIXEL_SPACING = 0x0028, 0x0030;
    BITS_ALLOCATED = 0x0028, 0x0100;
    BITS_STORED = 0x0028, 0x0101;
    HIGH_BIT = 0x0028, 0x0102;
    PIXEL_REPRESENTATION = 0x0028, 0x0103;
    PIXEL_PADDING_VALUE = 0x0028, 0x0120;
    PIXEL_PADDING_LIMIT = 0x0028, 0x0121;
    RESCALE_INTERCEPT = 0x0028, 0x1052;
    RESCALE_SLOPE = 0x0028, 0x1053;
    LOSSY_COMPRESSION = 0x0028, 0x2110;
    MODALITY_LUT = 0x0028, 0x3000;
}

/// (7FE0,0010).
pub(crate) const PIXEL_DATA: Tag = Tag::new(0x7FE0, 0x0010);
/// (0002,0002), in the meta group.
pub(crate) const MEDIA_SOP_CLASS: Tag = Tag::new(0x0002, 0x0002);
/// (0002,0010), in the meta group.
pub(crate) const TRANSFER_SYNTAX: Tag = Tag::new(0x0002, 0x0010);
/// Begin of an item or fragment.
pub(crate) const ITEM: Tag = Tag::new(0xFFFE, 0xE000);
/// End of an item of undefined length.
pub(crate) const ITEM_END: Tag = Tag::new(0xFFFE, 0xE00D);
/// End of a sequence of undefined length.
pub(crate) const SEQUENCE_END: Tag = Tag::new(0xFFFE, 0xE0DD);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_tags_are_sorted_for_binary_search() {
        assert!(WANTED.is_sorted_by(|a, b| a < b));
    }
}
