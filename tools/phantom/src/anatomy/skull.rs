//! The skull: inner vault, floor of the cranial cavity, thickness with its tables and diploe.

use crate::math::{V3, bell, capsule, ellipsoid, mix, smooth, v3};
use crate::noise::{Grid3, Map2, Noise};

use super::params::Params;

/// Half axes of the canonical inner vault: x, y, z upwards, z downwards.
const VAULT: [f32; 4] = [66.0, 84.0, 74.0, 112.0];

/// No part of the floor reaches within some mm of this height.
const HIGHEST_FLOOR: f32 = 12.0;

/// Where a point lies with respect to the skull; distances in mm, positive inside.
#[derive(Clone, Copy, Debug)]
pub struct Depths {
    /// Depth under the inner table of the vault.
    pub vault: f32,
    /// Height above the floor of the cranial cavity.
    pub floor: f32,
    /// Thickness of the vault bone here.
    pub bone: f32,
    /// Depth inside the cranial cavity: the smaller of the two above.
    pub cavity: f32,
    /// Depth below the skin, negative in the air.
    pub skin: f32,
}

/// Skull of one head.
#[derive(Clone, Debug)]
pub struct Skull {
    floor: Map2,
    /// Vault depth, thickness of bone, skin depth.
    shells: Grid3<3>,
    table_hu: f32,
    diploe_hu: f32,
    diploe: f32,
}

impl Skull {
    /// Builds floor and thickness maps.
    pub fn new(p: &Params, noise: &Noise) -> Self {
        let floor =
            Map2::tabulate((-90.0, -105.0), (90.0, 100.0), 1.5, |x, y| floor_height(x, y) + 1.6 * noise.rich(v3(x / 11.0, y / 11.0, 3.5)));
        let (bone, frontal) = (p.bone, p.frontal_bone);
        let thickness = Grid3::tabulate(v3(-1.0, -1.0, -1.0), v3(1.0, 1.0, 1.0), 0.1, |u| {
            let u = u.unit();
            let lumpy = 1.0 + 0.22 * noise.rich(u * 2.6) + 0.12 * noise.rich(u * 6.0);
            let front = frontal * smooth(0.5, 0.95, -u.y) * (1.0 - smooth(0.55, 0.8, u.z));
            let brow = 7.0 * bell((u.z + 0.02) / 0.16) * bell(u.x / 0.22) * smooth(0.6, 0.95, -u.y);
            let occiput = 3.5 * bell((u.z + 0.16) / 0.16) * bell(u.x / 0.25) * smooth(0.6, 0.95, u.y);
            let temporal = 1.0 - 0.4 * bell((u.z + 0.1) / 0.3) * smooth(0.6, 0.9, u.x.abs());
            [(bone * lumpy * temporal + front + brow + occiput).max(1.6)]
        });
        let shells = Grid3::tabulate(v3(-112.0, -128.0, -104.0), v3(112.0, 116.0, 104.0), 4.0, |q| {
            let vault = vault_depth(p, q);
            let bone = thickness.at(q.unit())[0];
            [vault, bone, skin_depth(p, q, vault, bone, noise)]
        });
        Self { floor, shells, table_hu: p.table_hu, diploe_hu: p.diploe_hu, diploe: p.diploe }
    }

    /// All depths of a point in canonical coordinates.
    pub fn depths(&self, q: V3) -> Depths {
        let [vault, bone, skin] = self.shells.at(q);
        let floor = if q.z > HIGHEST_FLOOR { q.z - HIGHEST_FLOOR + 5.0 } else { (q.z - self.floor.at(q.x, q.y)) * 0.8 };
        Depths { vault, floor, bone, cavity: vault.min(floor), skin }
    }

    /// HU inside the bone of the vault, `outside` mm outside its inner table of thickness `bone`.
    pub fn bone_hu(&self, outside: f32, bone: f32, q: V3, noise: &Noise) -> f32 {
        let t = outside / bone;
        let middle =
            smooth(0.5 - self.diploe, 0.5 - 0.55 * self.diploe, t) * (1.0 - smooth(0.5 + 0.5 * self.diploe, 0.5 + 0.9 * self.diploe, t));
        let marrow = self.diploe_hu * (1.0 + 0.45 * noise.rich(q * 0.3));
        mix(self.table_hu * (0.94 + 0.08 * noise.at(q * 0.1)), marrow, middle * smooth(2.5, 5.0, bone))
    }
}

/// Lowest z to which the vault's shell of bone exists, by position: brow, temporal squama, occiput.
pub fn shell_bottom(q: V3) -> f32 {
    let front = smooth(-35.0, -60.0, q.y);
    let back = smooth(15.0, 40.0, q.y);
    -36.0 + 22.0 * front - 24.0 * back
}

/// |x| → y of the petrous ridge.
pub fn petrous_ridge(ax: f32) -> f32 {
    6.0 + 0.5 * ax
}

/// Height of the floor of the cranial cavity: three fossae, sella, petrous ridges and the foramen magnum.
fn floor_height(x: f32, y: f32) -> f32 {
    let ax = x.abs();
    let anterior = -12.0 + 5.5 * bell((ax - 29.0) / 12.0) * bell((y + 58.0) / 16.0) - 5.0 * bell(ax / 7.0) * bell((y + 55.0) / 20.0);
    let side = (ax - 36.0) / 28.0;
    let middle = -37.0 + 12.0 * side * side + 0.006 * (y - 0.0) * (y - 0.0) * 0.5;
    let rho2 = x * x + (y - 34.0) * (y - 34.0);
    let posterior = -60.0 + 0.0085 * rho2;
    let sella = -17.0 - 5.0 * bell(ax / 6.0) * bell((y + 14.0) / 5.0) + 5.0 * bell(ax / 8.0) * bell((y + 3.0) / 3.5);
    let wing = -24.0 - 0.28 * (ax - 12.0).max(0.0);
    let mut f = mix(anterior, middle, smooth(wing - 3.0, wing + 5.0, y));
    f = mix(mix(anterior, sella, smooth(-32.0, -24.0, y)), f, smooth(11.0, 19.0, ax));
    let ridge = petrous_ridge(ax);
    f = mix(f, posterior, smooth(ridge - 3.0, ridge + 5.0, y));
    let off = (y - ridge) / 7.5;
    let crest = -15.0 - 0.05 * ax - 17.0 * off * off - 30.0 * smooth(14.0, 6.0, ax);
    f = f.max(crest);
    let clivus = -17.0 - 1.9 * (y - 2.0);
    if ax < 14.0 && (2.0..26.0).contains(&y) {
        f = mix(f.max(clivus.max(-60.0)), f, smooth(9.0, 14.0, ax));
    }
    let foramen = x * x + (y - 29.0) * (y - 29.0);
    if foramen < 15.0 * 15.0 { -140.0 } else { f }
}

/// Depth below the inner table, without the cavity's floor.
fn vault_depth(p: &Params, q: V3) -> f32 {
    let back = (q.y / VAULT[1]).clamp(-1.1, 1.1);
    let width = VAULT[0] * (1.0 + p.egg * (back - 0.35 * back * back));
    let length = VAULT[1] - p.skew * back.max(0.0) * (q.x / 66.0).clamp(-1.0, 1.0) * 1.5;
    let r = v3(width, length, if q.z > 0.0 { VAULT[2] } else { VAULT[3] });
    let u = q.over(r);
    // A norm slightly above 2 flattens the sides and the vertex as real vaults are.
    let (ax, ay, az) = (u.x * u.x, u.y * u.y, u.z * u.z);
    let k2 = ax + ay + az - 0.32 * (ax * ay) - 0.12 * (ax * az + ay * az);
    let k = k2.max(0.0).sqrt();
    let g = u.over(r).len();
    if g < 1e-5 { VAULT[0] } else { (1.0 - k) * k / g }
}

/// Depth below the skin: scalp over the vault, face, neck and nose.
fn skin_depth(p: &Params, q: V3, vault: f32, bone: f32, noise: &Noise) -> f32 {
    let back = 9.0 * smooth(8.0, -42.0, q.z) * smooth(0.0, 60.0, q.y);
    let thick = bone.max(2.0) + p.scalp * (1.0 + 0.25 * noise.at(q * 0.035)) + temporal_muscle(q) + back;
    let vault = vault + thick - 0.5 * (shell_bottom(q) - 12.0 - q.z).max(0.0);
    if q.z > 14.0 {
        return vault;
    }
    let face = -ellipsoid(q - v3(0.0, -9.0, -56.0), v3(67.0, 88.0, 86.0));
    let neck = -ellipsoid(v3(q.x, q.y - 22.0, 0.0), v3(62.0, 62.0, 1e3)) - 2.0 * (q.z + 40.0).max(0.0);
    let nose = -capsule(q, v3(0.0, -90.0, -26.0), v3(0.0, -106.0, -56.0), 7.0, 12.0);
    vault.max(face).max(neck).max(nose)
}

/// Thickness of the temporal muscle over the squama, mm.
pub fn temporal_muscle(q: V3) -> f32 {
    8.0 * bell((q.y + 22.0) / 22.0) * smooth(30.0, -10.0, q.z) * smooth(35.0, 52.0, q.x.abs())
}
