//! What tags and free text say about an image: its kind, contrast medium, body part, reconstruction kernel.
//!
//! Free text steers the choice among series and is never repeated in findings or errors.

use super::header::SliceHeader;

const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// A CT image by its modality, or by its class where the modality is empty.
pub(super) fn is_ct(h: &SliceHeader) -> bool {
    h.modality == "CT" || (h.modality.is_empty() && is_class(&h.sop_class_uid, CT_IMAGE_STORAGE))
}

/// LOCALIZER (or its older name SCOUT) among the values of ImageType.
pub(super) fn is_localizer(h: &SliceHeader) -> bool {
    h.image_type.iter().any(|v| v == "LOCALIZER" || v == "SCOUT")
}

/// Value 2 of ImageType is SECONDARY, or the object is a screen capture by its class.
pub(super) fn is_secondary(h: &SliceHeader) -> bool {
    h.image_type.get(1).is_some_and(|v| v == "SECONDARY") || is_class(&h.sop_class_uid, SECONDARY_CAPTURE)
}

/// Value 1 of ImageType is DERIVED.
pub(super) fn is_derived(h: &SliceHeader) -> bool {
    h.image_type.first().is_some_and(|v| v == "DERIVED")
}

/// ContrastBolusAgent, or a description that says so.
pub(super) fn is_contrast(h: &SliceHeader) -> bool {
    h.contrast || says_contrast(&h.series_description)
}

/// A class or one of its children (multi-frame secondary capture and so on).
fn is_class(uid: &str, class: &str) -> bool {
    uid.strip_prefix(class).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a description speaks of contrast medium; one that also speaks of its absence ("WO/W") does not decide.
fn says_contrast(text: &str) -> bool {
    const WITHOUT: &[&str] =
        &["W/O", "WO/", "WITHOUT", "NONCON", "NON CON", "NON-CON", "NO CON", "WO CON", "UNENHANCED", "PRECON", "PRE CON", "PRE-CON"];
    const WITHOUT_WORDS: &[&str] = &["WO", "C-", "-C", "NCCT", "NECT", "NATIV", "NATIVE", "OHNE", "SANS", "SIN", "SEM", "SENZA"];
    const WITH: &[&str] = &["CONTRAST", "POSTCON", "POST CON", "POST-CON", "W CON", "IV CON", "ANGIO", "PERFUS", "BOLUS"];
    const WITH_WORDS: &[&str] = &["C+", "+C", "CE", "CECT", "CTA", "CTV", "CTP", "KM", "ARTERIAL", "VENOUS"];
    let text = text.to_uppercase();
    let says = |parts: &[&str], words: &[&str]| {
        parts.iter().any(|p| text.contains(p))
            || text.split(|c: char| c.is_whitespace() || "_,;()[]".contains(c)).any(|w| words.contains(&w))
    };
    says(WITH, WITH_WORDS) && !says(WITHOUT, WITHOUT_WORDS)
}

/// What part of the body a series says it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BodyPart {
    /// Head, brain, skull.
    Head,
    /// Nothing is said, or nothing known.
    Unknown,
    /// Another part, or only a part of the head such as the sinuses.
    Other,
}

/// The description speaks first (the tag is often the protocol's), then BodyPartExamined.
pub(super) fn body_part(h: &SliceHeader) -> BodyPart {
    match part_in(&h.series_description) {
        BodyPart::Unknown => part_in(&h.body_part),
        part => part,
    }
}

fn part_in(text: &str) -> BodyPart {
    const HEAD: &[&str] = &[
        "HEAD", "BRAIN", "SKULL", "CRAN", "CEREB", "NEURO", "ENCEPH", "HIRN", "KOPF", "SCHADEL", "SCHAEDEL", "SCHÄDEL", "TETE", "TÊTE",
        "CCT", "NCCT", "CABEZA", "CEREBRO",
    ];
    const OTHER: &[&str] = &[
        "NECK",
        "CHEST",
        "THORAX",
        "LUNG",
        "ABD",
        "PELV",
        "HEART",
        "CARDI",
        "CORON",
        "AORT",
        "LIVER",
        "KIDNEY",
        "COLON",
        "HIP",
        "KNEE",
        "ANKLE",
        "FOOT",
        "HAND",
        "WRIST",
        "ELBOW",
        "SHOULDER",
        "LEG",
        "ARM",
        "EXTREM",
        "SINUS",
        "ORBIT",
        "FACIAL",
        "FACE",
        "MAXILL",
        "MANDIB",
        "DENTAL",
        "IAC",
        "MASTOID",
        "WHOLEBODY",
    ];
    let text = text.to_uppercase();
    let words = || text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    if words().any(|w| HEAD.iter().any(|h| w.starts_with(h))) {
        return BodyPart::Head;
    }
    // "CORONAL" is a plane, "CORONARY" a vessel.
    let other = |w: &str| w.ends_with("SPINE") || (!w.starts_with("CORONAL") && OTHER.iter().any(|o| w.starts_with(o)));
    if words().any(other) { BodyPart::Other } else { BodyPart::Unknown }
}

/// How sharp the reconstruction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kernel {
    /// Brain and soft tissue.
    Soft,
    /// Nothing is said, or nothing known.
    Unknown,
    /// Bone, lung, edge.
    Sharp,
}

/// The kernel tag where its name is known, else the description.
pub(super) fn kernel(h: &SliceHeader) -> Kernel {
    let by_name = h.convolution_kernel.iter().map(|k| kernel_named(&k.to_uppercase())).find(|k| *k != Kernel::Unknown);
    by_name.unwrap_or_else(|| kernel_in(&h.series_description.to_uppercase()))
}

/// Makers' names: words (GE), FC numbers (Canon, Toshiba), letters and a number that grows with sharpness (Siemens), letters (Philips).
fn kernel_named(name: &str) -> Kernel {
    let name = name.trim();
    let by_word = kernel_in(name);
    if by_word != Kernel::Unknown {
        return by_word;
    }
    let digits: String = name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).take(4).collect();
    let letters: String = name.chars().take_while(char::is_ascii_alphabetic).collect();
    match (&*letters, digits.parse::<u32>()) {
        ("FC", Ok(n)) => match n {
            0..=29 | 40..=49 | 60..=69 => Kernel::Soft,
            30..=39 | 50..=59 | 80..=89 => Kernel::Sharp,
            _ => Kernel::Unknown,
        },
        (
            "A" | "AH" | "B" | "BF" | "BL" | "BR" | "BV" | "C" | "H" | "HC" | "HF" | "HP" | "HR" | "HV" | "I" | "J" | "Q" | "QR" | "T"
            | "U",
            Ok(n),
        ) => {
            if n < 50 {
                Kernel::Soft
            } else {
                Kernel::Sharp
            }
        }
        ("A" | "B" | "UA" | "UB" | "UC" | "SB", Err(_)) => Kernel::Soft,
        ("D" | "E" | "L" | "YA" | "YB" | "YC" | "YD" | "YE", Err(_)) => Kernel::Sharp,
        _ => Kernel::Unknown,
    }
}

fn kernel_in(text: &str) -> Kernel {
    const SHARP: &[&str] = &["BONE", "EDGE", "LUNG", "SHARP", "KNOCHEN", "OSSEUX", "HUESO", "INNEREAR", "DETAIL", "HRES"];
    const SOFT: &[&str] = &["SOFT", "STANDARD", "STND", "STD", "BRAIN", "SMOOTH", "TISSUE", "WEICHTEIL", "PARENCH", "CEREB", "HIRN"];
    let words = || text.split(|c: char| !c.is_alphanumeric());
    let any = |list: &[&str]| words().any(|w| list.iter().any(|l| w.starts_with(l)));
    if any(SHARP) {
        Kernel::Sharp
    } else if any(SOFT) {
        Kernel::Soft
    } else {
        Kernel::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_in_descriptions() {
        for text in ["HEAD C+", "Head with contrast", "CTA HEAD", "BRAIN PERFUSION", "Schaedel mit KM", "post-contrast 5mm"] {
            assert!(says_contrast(text), "{text}");
        }
        for text in [
            "",
            "HEAD W/O CONTRAST",
            "HEAD WO/W CONTRAST",
            "noncontrast head",
            "C-SPINE",
            "Kopf nativ",
            "STD BRAIN 5MM",
            "BRAIN WO CONTRAST",
        ] {
            assert!(!says_contrast(text), "{text}");
        }
    }

    #[test]
    fn kernels_of_the_makers() {
        for name in ["STANDARD", "STD+", "SOFT", "UB", "H31s", "J40s", "Hr40f", "FC26", "FC64", "B"] {
            assert_eq!(kernel_named(&name.to_uppercase()), Kernel::Soft, "{name}");
        }
        for name in ["BONE", "BONEPLUS", "H60s", "J70h", "Hr68h", "FC30", "FC81", "D", "YC", "LUNG"] {
            assert_eq!(kernel_named(&name.to_uppercase()), Kernel::Sharp, "{name}");
        }
        for name in ["", "X", "FC99", "99999999999999999999", "\u{e9}"] {
            assert_eq!(kernel_named(name), Kernel::Unknown, "{name}");
        }
    }

    #[test]
    fn body_parts_in_text() {
        for (text, part) in [
            ("HEAD", BodyPart::Head),
            ("STD BRAIN 5MM", BodyPart::Head),
            ("HEAD/NECK", BodyPart::Head),
            ("C-SPINE 2.0", BodyPart::Other),
            ("LSPINE", BodyPart::Other),
            ("Abdomen", BodyPart::Other),
            ("CORONAL 3MM", BodyPart::Unknown),
            ("5MM STD", BodyPart::Unknown),
            ("", BodyPart::Unknown),
        ] {
            assert_eq!(part_in(text), part, "{text}");
        }
    }
}
