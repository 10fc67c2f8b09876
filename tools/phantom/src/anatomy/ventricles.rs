//! Ventricles and deep nuclei, tabulated on a coarse grid because they are smooth and asked for everywhere.

use crate::math::{V3, capsule, ellipsoid, v3};
use crate::noise::{Grid3, Noise};

use super::params::Params;

/// Right lateral ventricle: centre line with radii at ventricle factor 1; the left one is its mirror image.
const LATERAL: [(V3, f32); 8] = [
    (v3(13.5, -39.0, 7.0), 2.6),
    (v3(9.5, -29.0, 11.0), 5.0),
    (v3(8.0, -14.0, 17.5), 4.8),
    (v3(10.0, 2.0, 22.5), 4.8),
    (v3(15.0, 16.0, 21.0), 5.6),
    (v3(23.0, 29.0, 14.0), 7.0),
    (v3(25.5, 43.0, 8.5), 4.4),
    (v3(24.0, 57.0, 6.0), 2.0),
];
/// Temporal horn.
const TEMPORAL: [(V3, f32); 4] =
    [(v3(23.0, 29.0, 14.0), 6.0), (v3(29.5, 20.0, -1.0), 3.4), (v3(31.0, 6.0, -13.0), 2.3), (v3(28.0, -9.0, -18.0), 1.9)];

/// Signed distances (negative inside) of one point.
#[derive(Clone, Copy, Debug)]
pub struct Deep {
    /// Lateral and third and fourth ventricles.
    pub ventricle: f32,
    /// Caudate, lentiform nuclei and thalami.
    pub nuclei: f32,
    /// Brain stem.
    pub stem: f32,
}

/// Tabulated distances.
#[derive(Clone, Debug)]
pub struct DeepMap {
    grid: Grid3<3>,
    third: f32,
}

const LOW: V3 = v3(-48.0, -62.0, -64.0);
const HIGH: V3 = v3(48.0, 66.0, 44.0);

impl DeepMap {
    /// Tabulates at 2 mm.
    pub fn new(p: &Params, noise: &Noise) -> Self {
        let ventricles = p.ventricles;
        let atrophy = p.atrophy;
        let grid = Grid3::tabulate(LOW, HIGH, 2.0, |q| {
            let side = usize::from(q.x < 0.0);
            let m = v3(q.x.abs(), q.y, q.z);
            let lateral = chain(m, &LATERAL, ventricles[side], 1.0).min(chain(m, &TEMPORAL, ventricles[side], 0.85));
            let fourth = ellipsoid(q - v3(0.0, 38.0, -33.0), v3(7.0, 4.5, 10.0) * (0.8 + 0.4 * atrophy));
            let rough = 0.5 * noise.rich(q * 0.14);
            [lateral.min(fourth) + rough, nuclei(m) + rough, stem(q)]
        });
        Self { grid, third: p.third }
    }

    /// Distances at a point in canonical coordinates.
    pub fn at(&self, q: V3) -> Deep {
        if q.x < LOW.x || q.x > HIGH.x || q.y < LOW.y || q.y > HIGH.y || q.z < LOW.z || q.z > HIGH.z {
            return Deep { ventricle: 20.0, nuclei: 20.0, stem: 20.0 };
        }
        let [lateral, nuclei, stem] = self.grid.at(q);
        let third = ellipsoid(q - v3(0.0, 1.0, 1.0), v3(self.third, 14.0, 10.0));
        Deep { ventricle: lateral.min(third), nuclei, stem }
    }
}

fn chain(m: V3, points: &[(V3, f32)], factor: f32, offset: f32) -> f32 {
    // Wider ventricles also move outwards, so that the septum between them keeps its place.
    let grow = |(c, r): (V3, f32)| (v3(c.x + (factor - 1.0) * r * 0.75, c.y, c.z), r * factor * offset);
    points.windows(2).fold(f32::MAX, |best, pair| {
        let ((a, ra), (b, rb)) = (grow(pair[0]), grow(pair[1]));
        best.min(capsule(m, a, b, ra, rb))
    })
}

fn nuclei(m: V3) -> f32 {
    let caudate = ellipsoid(m - v3(13.5, -25.0, 9.0), v3(5.5, 10.0, 9.5));
    let tail = capsule(m, v3(15.0, -16.0, 18.0), v3(19.0, 8.0, 21.0), 3.6, 2.4);
    // The lentiform nucleus is a wedge that opens to the side: an ellipsoid turned by about 20 degrees.
    let l = m - v3(24.5, -5.0, 4.0);
    let turned = v3(0.94 * l.x - 0.34 * l.y, 0.34 * l.x + 0.94 * l.y, l.z);
    let lentiform = ellipsoid(turned, v3(7.0, 15.0, 9.5));
    let thalamus = ellipsoid(m - v3(11.5, 13.0, 7.0), v3(8.5, 13.0, 9.0));
    caudate.min(tail).min(lentiform).min(thalamus)
}

fn stem(q: V3) -> f32 {
    let m = v3(q.x.abs(), q.y, q.z);
    let peduncle = capsule(m, v3(8.0, 6.0, -10.0), v3(12.0, 8.0, 2.0), 6.5, 7.5);
    let midbrain = capsule(q, v3(0.0, 16.0, -4.0), v3(0.0, 15.0, -18.0), 12.0, 12.5);
    let pons = ellipsoid(q - v3(0.0, 14.0, -27.0), v3(16.0, 13.5, 14.0));
    let medulla = capsule(q, v3(0.0, 20.0, -38.0), v3(0.0, 29.0, -66.0), 9.5, 6.5);
    midbrain.min(peduncle).min(pons).min(medulla)
}
