//! An analytic head: HU and tissue at any point, in a canonical frame of about 132 × 168 × 135 mm inside the skull.

pub mod brain;
pub mod face;
pub mod params;
pub mod skull;
pub mod ventricles;

use crate::math::{V3, v3};
use crate::noise::{Grid3, Noise};
use crate::rng::Rng;

pub use brain::{Brain, BrainPoint};
pub use face::{AIR_HU, Surroundings};
pub use params::Params;
pub use skull::{Depths, Skull};

/// One head without lesions.
#[derive(Clone, Debug)]
pub struct Anatomy {
    /// What was drawn.
    pub params: Params,
    /// The random field behind all textures.
    pub noise: Noise,
    /// Bones around the cavity.
    pub skull: Skull,
    /// Contents of the cavity.
    pub brain: Brain,
    /// Everything else.
    pub surroundings: Surroundings,
    warp: Grid3<3>,
}

impl Anatomy {
    /// The head of a seed.
    pub fn new(seed: u64) -> Self {
        let params = Params::draw(&mut Rng::new(seed, "anatomy"));
        let noise = Noise::new(&mut Rng::new(seed, "noise"));
        let amplitude = params.warp;
        let warp = Grid3::tabulate(v3(-120.0, -130.0, -110.0), v3(120.0, 120.0, 110.0), 10.0, |p| {
            let at = |o: f32| amplitude * noise.rich(p * (1.0 / 38.0) + v3(o, 2.0 * o, -o));
            [at(4.1), at(9.7), 0.8 * at(15.3)]
        });
        let skull = Skull::new(&params, &noise);
        let brain = Brain::new(&params, &noise);
        let surroundings = Surroundings::new(&params);
        Self { params, noise, skull, brain, surroundings, warp }
    }

    /// Head coordinates (mm, origin between the ventricles) → canonical coordinates, scaled and smoothly deformed.
    pub fn canonical(&self, head: V3) -> V3 {
        let q = head.over(self.params.scale);
        let [x, y, z] = self.warp.at(q);
        q + v3(x, y, z)
    }
}
