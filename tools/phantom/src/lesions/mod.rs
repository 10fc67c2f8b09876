//! Hemorrhages of five types and the benign findings that resemble them.

mod bleed;
mod draw;
mod mimic;

pub use bleed::{Bleed, Clot, Shape};
pub use draw::draw_bleeds;
pub use mimic::{Mimic, draw_mimics};

use serde::{Deserialize, Serialize};

/// The five hemorrhage types, with the codes that masks use (0 is no hemorrhage).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Between skull and dura, lens-shaped.
    Epidural = 1,
    /// Inside the brain.
    Intraparenchymal = 2,
    /// Inside the ventricles.
    Intraventricular = 3,
    /// In sulci and cisterns.
    Subarachnoid = 4,
    /// Between dura and brain, crescent-shaped.
    Subdural = 5,
}

impl Kind {
    /// All types in the order of their codes.
    pub const ALL: [Kind; 5] = [Kind::Epidural, Kind::Intraparenchymal, Kind::Intraventricular, Kind::Subarachnoid, Kind::Subdural];

    /// The mask's code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Lower-case name as written to truth files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Epidural => "epidural",
            Kind::Intraparenchymal => "intraparenchymal",
            Kind::Intraventricular => "intraventricular",
            Kind::Subarachnoid => "subarachnoid",
            Kind::Subdural => "subdural",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.name() == name)
    }
}
