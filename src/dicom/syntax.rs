//! Transfer syntaxes: how a data set is encoded, and what its pixel data went through.

/// Byte order and VR of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// Numbers are big-endian (retired, still met in archives).
    pub(crate) big_endian: bool,
    /// Elements carry their VR.
    pub(crate) explicit_vr: bool,
}

impl Encoding {
    /// Implicit VR little endian: the default, and the content of every UN sequence.
    pub(crate) const IMPLICIT_LE: Self = Self { big_endian: false, explicit_vr: false };
    /// Explicit VR little endian: meta group, and every compressed syntax.
    pub(crate) const EXPLICIT_LE: Self = Self { big_endian: false, explicit_vr: true };
    /// Explicit VR big endian.
    pub(crate) const EXPLICIT_BE: Self = Self { big_endian: true, explicit_vr: true };

    /// Two bytes as a number.
    pub(crate) fn u16(self, b: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) }
    }

    /// Four bytes as a number.
    pub(crate) fn u32(self, b: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
    }
}

/// How pixel data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Plain values.
    Native,
    /// DICOM run-length encoding.
    Rle,
    /// ITU-T T.81; the codestream says which process.
    Jpeg,
    /// ITU-T T.800.
    Jpeg2000,
    /// Known by name, not read by this build.
    Refused,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransferSyntax {
    pub(crate) uid: &'static str,
    pub(crate) name: &'static str,
    pub(crate) encoding: Encoding,
    pub(crate) deflated: bool,
    pub(crate) codec: Codec,
    /// The syntax itself says that values were changed; a syntax that may be either leaves it to (0028,2110).
    pub(crate) lossy: bool,
}

const fn native(uid: &'static str, name: &'static str, encoding: Encoding) -> TransferSyntax {
    TransferSyntax { uid, name, encoding, deflated: false, codec: Codec::Native, lossy: false }
}

const fn coded(uid: &'static str, name: &'static str, codec: Codec, lossy: bool) -> TransferSyntax {
    TransferSyntax { uid, name, encoding: Encoding::EXPLICIT_LE, deflated: false, codec, lossy }
}

/// Every transfer syntax that CT has been seen in. A codec that is added changes its row here and gets a decoder in `codec`.
#[rustfmt::skip]
const TABLE: &[TransferSyntax] = &[
    native("1.2.840.10008.1.2", "Implicit VR Little Endian", Encoding::IMPLICIT_LE),
    native("1.2.840.10008.1.2.1", "Explicit VR Little Endian", Encoding::EXPLICIT_LE),
    native("1.2.840.10008.1.2.2", "Explicit VR Big Endian", Encoding::EXPLICIT_BE),
    TransferSyntax { deflated: true, ..native("1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian", Encoding::EXPLICIT_LE) },
    coded("1.2.840.10008.1.2.5", "RLE Lossless", Codec::Rle, false),
    coded("1.2.840.10008.1.2.4.50", "JPEG Baseline", Codec::Jpeg, true),
    coded("1.2.840.10008.1.2.4.51", "JPEG Extended", Codec::Jpeg, true),
    coded("1.2.840.10008.1.2.4.57", "JPEG Lossless", Codec::Jpeg, false),
    coded("1.2.840.10008.1.2.4.70", "JPEG Lossless, first-order prediction", Codec::Jpeg, false),
    coded("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", Codec::Refused, false),
    coded("1.2.840.10008.1.2.4.81", "JPEG-LS Near-lossless", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.90", "JPEG 2000 Lossless", Codec::Jpeg2000, false),
    coded("1.2.840.10008.1.2.4.91", "JPEG 2000", Codec::Jpeg2000, false),
    coded("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Lossless", Codec::Refused, false),
    coded("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2", Codec::Refused, false),
    coded("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.101", "MPEG2 High Profile", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.103", "MPEG-4 AVC/H.264 BD-compatible", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.104", "MPEG-4 AVC/H.264 High Profile 2D", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.105", "MPEG-4 AVC/H.264 High Profile 3D", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.106", "MPEG-4 AVC/H.264 Stereo", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.108", "HEVC/H.265 Main 10 Profile", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.110", "JPEG XL Lossless", Codec::Refused, false),
    coded("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression", Codec::Refused, true),
    coded("1.2.840.10008.1.2.4.112", "JPEG XL", Codec::Refused, false),
    coded("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 Lossless", Codec::Refused, false),
    coded("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 RPCL Lossless", Codec::Refused, false),
    coded("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", Codec::Refused, false),
];

impl TransferSyntax {
    /// The row of a UID.
    pub(crate) fn of(uid: &str) -> Option<&'static Self> {
        TABLE.iter().find(|t| t.uid == uid)
    }

    /// Implicit VR little endian, explicit VR little endian or explicit VR big endian, for files that do not say.
    pub(crate) fn native(encoding: Encoding) -> &'static Self {
        match (encoding.explicit_vr, encoding.big_endian) {
            (false, _) => &TABLE[0],
            (true, false) => &TABLE[1],
            (true, true) => &TABLE[2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uid_stands_once() {
        for (i, a) in TABLE.iter().enumerate() {
            assert!(TABLE.iter().skip(i + 1).all(|b| a.uid != b.uid), "{}", a.uid);
            assert_eq!(TransferSyntax::of(a.uid), Some(a));
        }
        for encoding in [Encoding::IMPLICIT_LE, Encoding::EXPLICIT_LE, Encoding::EXPLICIT_BE] {
            assert_eq!(TransferSyntax::native(encoding).encoding, encoding);
        }
    }
}
