//! Files that have ended, swamped or misled DICOM readers, by name, and the irregular files that archives hold and a reader has to take.

use radnet::dicom::header::{FileContent, SliceHeader};
use radnet::dicom::{DecodedSlice, Limits, decode_slice, read_header};
use radnet::{Error, ErrorKind, FindingCode, HuPixels};
use std::io::Write;
use std::path::PathBuf;

type Tag = (u16, u16);

const ROWS: Tag = (0x0028, 0x0010);
const COLUMNS: Tag = (0x0028, 0x0011);
const BITS_STORED: Tag = (0x0028, 0x0101);
const SIGNED: Tag = (0x0028, 0x0103);
const PADDING: Tag = (0x0028, 0x0120);
const INTERCEPT: Tag = (0x0028, 0x1052);
const SLOPE: Tag = (0x0028, 0x1053);
const PRIVATE: Tag = (0x0029, 0x1010);
const PIXELS: Tag = (0x7FE0, 0x0010);
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// A data set as (tag, VR, value), in the order of tags.
#[derive(Clone)]
struct Slice(Vec<(Tag, [u8; 2], Vec<u8>)>);

impl Slice {
    /// Two by two signed pixels: -1000, 0, 40, 1000 HU.
    fn new() -> Self {
        let mut slice = Self(Vec::new());
        slice.text((0x0008, 0x0016), *b"UI", "1.2.840.10008.5.1.4.1.1.2\0");
        slice.text((0x0008, 0x0060), *b"CS", "CT");
        slice.text((0x0020, 0x0032), *b"DS", "-100\\-90.5\\12 ");
        slice.text((0x0028, 0x0004), *b"CS", "MONOCHROME2 ");
        for (element, value) in [(0x0002, 1), (0x0010, 2), (0x0011, 2), (0x0100, 16), (0x0101, 16), (0x0102, 15), (0x0103, 1)] {
            slice.number((0x0028, element), value);
        }
        slice.text(INTERCEPT, *b"DS", "-24 ");
        slice.text(SLOPE, *b"DS", "1 ");
        slice.set(PIXELS, *b"OW", [-976i16, 24, 64, 1024].iter().flat_map(|v| v.to_le_bytes()).collect());
        slice
    }

    fn set(&mut self, tag: Tag, vr: [u8; 2], value: Vec<u8>) -> &mut Self {
        self.0.retain(|e| e.0 != tag);
        let at = self.0.partition_point(|e| e.0 < tag);
        self.0.insert(at, (tag, vr, value));
        self
    }

    fn text(&mut self, tag: Tag, vr: [u8; 2], value: &str) -> &mut Self {
        self.set(tag, vr, value.as_bytes().to_vec())
    }

    fn number(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.set(tag, *b"US", value.to_le_bytes().to_vec())
    }

    fn without(&mut self, tag: Tag) -> &mut Self {
        self.0.retain(|e| e.0 != tag);
        self
    }

    fn body(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(tag, vr, value)| element(*tag, vr, value.len() as u32, value)).collect()
    }

    fn file(&self) -> Vec<u8> {
        file(EXPLICIT, &self.body())
    }

    /// The file with bytes between the header and the pixel data.
    fn file_with(&self, inserted: &[u8]) -> Vec<u8> {
        let pixels = self.0.iter().find(|e| e.0 == PIXELS).map_or(0, |e| 12 + e.2.len());
        let mut body = self.body();
        let at = body.len() - pixels;
        body.splice(at..at, inserted.iter().copied());
        file(EXPLICIT, &body)
    }
}

fn element(tag: Tag, vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend(vr);
    if matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
        bytes.extend([0, 0]);
        bytes.extend(length.to_le_bytes());
    } else {
        bytes.extend((length as u16).to_le_bytes());
    }
    bytes.extend_from_slice(value);
    bytes
}

fn file(syntax: &str, body: &[u8]) -> Vec<u8> {
    let mut uid = syntax.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend(element((0x0002, 0x0010), b"UI", uid.len() as u32, &uid));
    bytes.extend_from_slice(body);
    bytes
}

/// A file on disk for as long as it is looked at.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new(bytes: &[u8]) -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        std::fs::write(scratch.path(), bytes).unwrap();
        scratch
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("slice")
    }
}

fn content(bytes: &[u8]) -> FileContent {
    read_header(&Scratch::new(bytes).path(), &Limits::default())
}

fn header(bytes: &[u8]) -> SliceHeader {
    match content(bytes) {
        FileContent::Image(header) => *header,
        other => panic!("{other:?}"),
    }
}

fn broken(bytes: &[u8]) -> Error {
    match content(bytes) {
        FileContent::Broken(error) => error,
        other => panic!("{other:?}"),
    }
}

fn decode(bytes: &[u8]) -> radnet::Result<DecodedSlice> {
    let scratch = Scratch::new(bytes);
    match read_header(&scratch.path(), &Limits::default()) {
        FileContent::Image(header) => decode_slice(&header, &Limits::default()),
        FileContent::Broken(error) => Err(error),
        FileContent::NotAnImage(reason) => panic!("{reason}"),
    }
}

fn pixels(bytes: &[u8]) -> HuPixels {
    decode(bytes).unwrap().pixels
}

const PLAIN: [i16; 4] = [-1000, 0, 40, 1000];

#[test]
fn nested_sequences_of_undefined_length_do_not_recurse() {
    let item = [0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
    let (item_end, end) = ([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0], [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    let nest = |vr: &[u8; 2], depth: usize| {
        let open = [element(PRIVATE, vr, u32::MAX, &[]), item.to_vec()].concat();
        // Inside UN everything is implicit VR.
        let inner = if vr == b"UN" { [&[0x29, 0, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF], &item[..]].concat() } else { open.clone() };
        [open, inner.repeat(depth - 1), [item_end, end].concat().repeat(depth)].concat()
    };
    for vr in [b"SQ", b"UN"] {
        assert_eq!(pixels(&Slice::new().file_with(&nest(vr, 20))), HuPixels::Int(PLAIN.to_vec()), "a depth that occurs");
        let bomb = Slice::new().file_with(&nest(vr, 20_000));
        // A stack this small would not survive recursion.
        let error = std::thread::Builder::new().stack_size(128 << 10).spawn(move || broken(&bomb)).unwrap().join().unwrap();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("nested deeper"), "{error}");
    }
}

#[test]
fn lengths_beyond_the_file_are_not_allocated() {
    for vr in [b"UT", b"UN", b"OB", b"OW", b"SQ"] {
        let error = broken(&Slice::new().file_with(&element(PRIVATE, vr, 0xF000_0000, &[])));
        assert_eq!(error.kind(), ErrorKind::CorruptFile);
        assert!(error.message().contains("4026531840"), "{error}");
    }
    let mut slice = Slice::new();
    slice.without(PIXELS);
    let error = decode(&slice.file_with(&element(PIXELS, b"OW", 0xF000_0000, &[1, 2]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptFile);
    assert!(error.message().contains("(7FE0,0010)"), "{error}");
}

#[test]
fn a_deflate_bomb_stops_at_its_cap() {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let size = 80u32 << 20;
    encoder.write_all(&element(PRIVATE, b"OB", size, &vec![0; size as usize])).unwrap();
    let bytes = file("1.2.840.10008.1.2.1.99", &encoder.finish().unwrap());
    assert!(bytes.len() < 1 << 20);
    assert_eq!(broken(&bytes).kind(), ErrorKind::TooLarge);
}

#[test]
fn many_elements_stop_at_their_cap() {
    let limits = Limits { max_elements: 100, ..Limits::default() };
    let scratch = Scratch::new(&Slice::new().file_with(&element(PRIVATE, b"LO", 0, &[]).repeat(200)));
    let FileContent::Broken(error) = read_header(&scratch.path(), &limits) else { panic!("not refused") };
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn damaged_rle_frames_never_panic() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/transfer/s16-rle.dcm")).unwrap();
    let scratch = Scratch::new(&bytes);
    let header = header(&bytes);
    let header = SliceHeader { path: scratch.path().into(), ..header };
    let start = bytes.len() - 2000;
    for at in (start..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x81;
        std::fs::write(scratch.path(), &damaged).unwrap();
        if let Err(error) = decode_slice(&header, &Limits::default()) {
            assert_eq!(error.kind(), ErrorKind::CorruptFile, "{error}");
        }
    }
}

#[test]
fn impossible_bits_and_sides_are_named() {
    for bits in [0, 17, 33, 65535] {
        assert_eq!(decode(&Slice::new().number(BITS_STORED, bits).file()).unwrap_err().kind(), ErrorKind::CorruptFile, "{bits} bits");
    }
    for side in [ROWS, COLUMNS] {
        assert_eq!(broken(&Slice::new().number(side, 0).file()).kind(), ErrorKind::CorruptFile);
        assert_eq!(broken(&Slice::new().without(side).file()).kind(), ErrorKind::CorruptFile);
        assert_eq!(broken(&Slice::new().number(side, 5000).file()).kind(), ErrorKind::TooLarge);
        assert_eq!(decode(&Slice::new().number(side, 3).file()).unwrap_err().kind(), ErrorKind::CorruptFile, "more pixels than data");
    }
}

/// Cut inside its pixels a file still says which series it is missing from; it never has pixels.
#[test]
fn a_file_cut_anywhere_never_has_pixels() {
    let whole = Slice::new().file();
    assert_eq!(pixels(&whole), HuPixels::Int(PLAIN.to_vec()));
    for n in 0..whole.len() {
        let scratch = Scratch::new(&whole[..n]);
        if let FileContent::Image(header) = read_header(&scratch.path(), &Limits::default()) {
            assert!(n >= whole.len() - 2 * PLAIN.len(), "cut at {n}");
            assert_eq!(decode_slice(&header, &Limits::default()).unwrap_err().kind(), ErrorKind::CorruptFile, "cut at {n}");
        }
    }
}

#[test]
fn pixel_data_of_an_icon_is_not_the_image() {
    let inner = [element(PIXELS, b"OW", 2, &[9, 9]), vec![0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]].concat();
    let icon = [&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF], &inner[..], &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]].concat();
    let bytes = Slice::new().file_with(&element((0x0088, 0x0200), b"SQ", u32::MAX, &icon));
    assert_eq!(pixels(&bytes), HuPixels::Int(PLAIN.to_vec()));
}

#[test]
fn elements_stored_as_unknown_are_read_by_the_dictionary() {
    let mut slice = Slice::new();
    for e in slice.0.iter_mut().filter(|e| e.0 != PIXELS) {
        e.1 = *b"UN";
    }
    let header = header(&slice.file());
    assert_eq!(header.image_position, Some([-100.0, -90.5, 12.0]));
    assert_eq!(header.modality, "CT");
    assert_eq!(pixels(&slice.file()), HuPixels::Int(PLAIN.to_vec()));
}

#[test]
fn a_rescale_that_cannot_be_read_is_refused_with_tag_and_value() {
    let refused = |slice: &mut Slice, words: &[&str]| {
        let error = decode(&slice.file()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRescale);
        assert!(words.iter().all(|w| error.message().contains(w)), "{error}");
    };
    for text in ["-1,024", "nan ", "soft", "inf ", "1\\2 ", "1e999"] {
        refused(Slice::new().text(INTERCEPT, *b"DS", text), &["(0028,1052)"]);
        refused(Slice::new().text(SLOPE, *b"DS", text), &["(0028,1053)"]);
    }
    refused(Slice::new().text(INTERCEPT, *b"DS", "-1,024"), &["'-1,024'"]);
    refused(Slice::new().text(SLOPE, *b"DS", "0 "), &["RescaleSlope (0028,1053) is 0"]);
    refused(Slice::new().text(SLOPE, *b"DS", ""), &["empty"]);
    refused(Slice::new().without(INTERCEPT), &["RescaleIntercept (0028,1052) is missing"]);
    refused(Slice::new().without(SLOPE).without(INTERCEPT).set((0x0028, 0x3000), *b"SQ", Vec::new()), &["Modality LUT Sequence"]);
}

#[test]
fn the_sign_of_padding_follows_pixel_representation() {
    let padded = |slice: &mut Slice, vr: [u8; 2]| {
        slice.set(PADDING, vr, (-976i16).to_le_bytes().to_vec());
        header(&slice.file()).pixels.padding_value
    };
    assert_eq!(padded(&mut Slice::new(), *b"US"), Some(-976));
    assert_eq!(padded(&mut Slice::new(), *b"SS"), Some(-976));
    assert_eq!(padded(Slice::new().number(SIGNED, 0), *b"SS"), Some(64560));
    let bytes = Slice::new().set(PADDING, *b"US", (-976i16).to_le_bytes().to_vec()).file();
    assert_eq!(pixels(&bytes), HuPixels::Int(vec![-1024, 0, 40, 1000]));
    let tissue = decode(&Slice::new().set(PADDING, *b"US", 64u16.to_le_bytes().to_vec()).file()).unwrap();
    assert_eq!(tissue.pixels, HuPixels::Int(PLAIN.to_vec()));
    assert_eq!(tissue.findings[0].code, FindingCode::PaddingIgnored);
}

#[test]
fn files_without_preamble_or_meta_group_are_recognised() {
    let slice = Slice::new();
    let body = slice.body();
    assert_eq!(pixels(&body), HuPixels::Int(PLAIN.to_vec()), "explicit VR little endian, nothing in front");
    assert_eq!(pixels(&slice.file()[132..]), HuPixels::Int(PLAIN.to_vec()), "a meta group without preamble");
    let implicit: Vec<u8> = slice
        .0
        .iter()
        .flat_map(|(tag, _, value)| [&tag.0.to_le_bytes()[..], &tag.1.to_le_bytes(), &(value.len() as u32).to_le_bytes(), value].concat())
        .collect();
    assert_eq!(header(&implicit).transfer_syntax_uid, "1.2.840.10008.1.2");
    assert_eq!(pixels(&implicit), HuPixels::Int(PLAIN.to_vec()), "implicit VR");
    assert_eq!(pixels(&file(EXPLICIT, &implicit)), HuPixels::Int(PLAIN.to_vec()), "a meta group that claims explicit VR");
}

#[test]
fn what_is_no_image_is_ignored_with_a_reason() {
    let not_dicom: [&[u8]; 5] = [b"", b"\x08", b"patient list\n", &[0; 4096], &[8, 0, 0, 0, 1, 0, 0, 0]];
    for bytes in not_dicom {
        assert!(matches!(content(bytes), FileContent::NotAnImage(_)), "{bytes:?}");
    }
    assert!(matches!(content(&Slice::new().without(PIXELS).file()), FileContent::NotAnImage("DICOM without pixel data")));
    let mut directory = file(EXPLICIT, &[]);
    directory.extend(element((0x0002, 0x0002), b"UI", 20, b"1.2.840.10008.1.3.10"));
    assert!(matches!(content(&directory), FileContent::NotAnImage("a DICOMDIR")));
}

#[test]
fn multi_frame_and_colour_are_refused_by_name() {
    let frames = broken(&Slice::new().text((0x0028, 0x0008), *b"IS", "30").file());
    assert_eq!(frames.kind(), ErrorKind::NoUsableSeries);
    assert!(frames.message().contains("30 frames"), "{frames}");
    let enhanced = broken(&Slice::new().text((0x0008, 0x0016), *b"UI", "1.2.840.10008.5.1.4.1.1.2.1\0").file());
    assert!(enhanced.message().contains("Enhanced CT"), "{enhanced}");
    let mut colour = Slice::new();
    colour.number((0x0028, 0x0002), 3).text((0x0028, 0x0004), *b"CS", "RGB ");
    // The header is still an image: a dose sheet has to be told apart before it is dropped.
    assert_eq!(header(&colour.file()).pixels.samples_per_pixel, 3);
    assert_eq!(decode(&colour.file()).unwrap_err().kind(), ErrorKind::NoUsableSeries);
}

#[test]
fn one_attribute_with_two_values_is_a_contradiction() {
    let twice = |value: &[u8]| Slice::new().file_with(&element(SLOPE, b"DS", value.len() as u32, value));
    assert_eq!(pixels(&twice(b"1 ")), HuPixels::Int(PLAIN.to_vec()));
    let error = broken(&twice(b"2 "));
    assert_eq!(error.kind(), ErrorKind::CorruptFile);
    assert!(error.message().contains("(0028,1053)"), "{error}");
}

#[test]
fn a_long_header_is_read_in_steps() {
    let long = element(PRIVATE, b"OB", 300_000, &vec![7; 300_000]);
    assert_eq!(pixels(&Slice::new().file_with(&long)), HuPixels::Int(PLAIN.to_vec()));
}

#[test]
fn a_file_that_changed_after_listing_is_not_decoded_as_something_else() {
    let scratch = Scratch::new(&Slice::new().file());
    let FileContent::Image(header) = read_header(&scratch.path(), &Limits::default()) else { panic!("no image") };
    std::fs::write(scratch.path(), b"gone").unwrap();
    assert_eq!(decode_slice(&header, &Limits::default()).unwrap_err().kind(), ErrorKind::CorruptFile);
    std::fs::remove_file(scratch.path()).unwrap();
    assert_eq!(decode_slice(&header, &Limits::default()).unwrap_err().kind(), ErrorKind::Io);
}
