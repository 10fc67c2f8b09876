//! Small vector arithmetic and elementary functions that give the same bits everywhere.
//!
//! `f32::sin`, `exp` and friends go to the platform's libm and may differ in the last bit between machines; a phantom must not. Everything here is made of
//! IEEE additions, multiplications, divisions and square roots, which are exact by definition.

use std::ops::{Add, Mul, Neg, Sub};

/// A point or direction in millimetres. In the head frame +x is the patient's left, +y posterior, +z superior.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct V3 {
    /// Towards the patient's left.
    pub x: f32,
    /// Towards posterior.
    pub y: f32,
    /// Towards superior.
    pub z: f32,
}

/// Shorthand constructor.
pub const fn v3(x: f32, y: f32, z: f32) -> V3 {
    V3 { x, y, z }
}

impl Add for V3 {
    type Output = V3;
    fn add(self, o: V3) -> V3 {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl Sub for V3 {
    type Output = V3;
    fn sub(self, o: V3) -> V3 {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for V3 {
    type Output = V3;
    fn mul(self, s: f32) -> V3 {
        v3(self.x * s, self.y * s, self.z * s)
    }
}

impl Neg for V3 {
    type Output = V3;
    fn neg(self) -> V3 {
        v3(-self.x, -self.y, -self.z)
    }
}

impl V3 {
    /// Scalar product.
    pub fn dot(self, o: V3) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    /// Vector product.
    pub fn cross(self, o: V3) -> V3 {
        v3(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }

    /// Euclidean length.
    pub fn len(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// The unit vector of the same direction; the z axis for the null vector.
    pub fn unit(self) -> V3 {
        let n = self.len();
        if n > 1e-9 { self * (1.0 / n) } else { v3(0.0, 0.0, 1.0) }
    }

    /// Product of components.
    pub fn times(self, o: V3) -> V3 {
        v3(self.x * o.x, self.y * o.y, self.z * o.z)
    }

    /// Quotient of components.
    pub fn over(self, o: V3) -> V3 {
        v3(self.x / o.x, self.y / o.y, self.z / o.z)
    }
}

/// A rotation, as rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation(pub [V3; 3]);

impl Rotation {
    /// Rotation by `pitch` about x, then `roll` about y, then `yaw` about z, in radians.
    pub fn from_angles(pitch: f32, roll: f32, yaw: f32) -> Self {
        let (sx, cx) = sin_cos(pitch);
        let (sy, cy) = sin_cos(roll);
        let (sz, cz) = sin_cos(yaw);
        Self([
            v3(cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
            v3(sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
            v3(-sy, cy * sx, cy * cx),
        ])
    }

    /// R · p.
    pub fn apply(&self, p: V3) -> V3 {
        v3(self.0[0].dot(p), self.0[1].dot(p), self.0[2].dot(p))
    }

    /// Rᵀ · p, the inverse rotation.
    pub fn invert(&self, p: V3) -> V3 {
        self.0[0] * p.x + self.0[1] * p.y + self.0[2] * p.z
    }
}

/// sin and cos, by a quarter-wave reduction and Taylor polynomials; absolute error below 1e-6 for |x| < 100.
pub fn sin_cos(x: f32) -> (f32, f32) {
    let x = f64::from(x);
    let quarter = (x / std::f64::consts::FRAC_PI_2).round();
    let r = x - quarter * std::f64::consts::FRAC_PI_2;
    let r2 = r * r;
    let s = r * (1.0 - r2 / 6.0 * (1.0 - r2 / 20.0 * (1.0 - r2 / 42.0 * (1.0 - r2 / 72.0))));
    let c = 1.0 - r2 / 2.0 * (1.0 - r2 / 12.0 * (1.0 - r2 / 30.0 * (1.0 - r2 / 56.0 * (1.0 - r2 / 90.0))));
    let (s, c) = match (quarter as i64).rem_euclid(4) {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    };
    (s as f32, c as f32)
}

/// e^x, relative error below 1e-6; 0 below -80 and e^80 above 80.
pub fn exp(x: f32) -> f32 {
    if x < -80.0 {
        return 0.0;
    }
    let x = x.min(80.0);
    let k = (x * std::f32::consts::LOG2_E).round();
    let r = x - k * std::f32::consts::LN_2;
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0)))));
    p * f32::from_bits(((k as i32 + 127) as u32) << 23)
}

/// exp(-x²/2).
pub fn bell(x: f32) -> f32 {
    exp(-0.5 * x * x)
}

/// Linear interpolation from a (t = 0) to b (t = 1).
pub fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `low`, 1 above `high`, a cubic ease between.
pub fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Signed distance to an ellipsoid at the origin (negative inside), first order: exact on the surface, good within a radius of it.
pub fn ellipsoid(p: V3, radii: V3) -> f32 {
    let q = p.over(radii);
    let k = q.len();
    let g = q.over(radii).len();
    if g < 1e-6 { -radii.x.min(radii.y).min(radii.z) } else { k * (k - 1.0) / g }
}

/// Signed distance to a cone with round ends: radius `ra` at a, `rb` at b (negative inside).
pub fn capsule(p: V3, a: V3, b: V3, ra: f32, rb: f32) -> f32 {
    let ab = b - a;
    let t = ((p - a).dot(ab) / ab.dot(ab).max(1e-6)).clamp(0.0, 1.0);
    (p - (a + ab * t)).len() - mix(ra, rb, t)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The home-made functions follow the platform's closely enough to be used as sin, cos and exp.
    #[test]
    fn elementary_functions_are_accurate() {
        for i in -1000..1000 {
            let x = i as f32 * 0.02;
            let (s, c) = sin_cos(x);
            assert!((s - x.sin()).abs() < 2e-6 && (c - x.cos()).abs() < 2e-6, "x = {x}");
            assert!((exp(x) / x.exp() - 1.0).abs() < 5e-6, "x = {x}");
        }
    }

    /// A rotation and its inverse cancel.
    #[test]
    fn rotation_inverts() {
        let r = Rotation::from_angles(0.3, -0.2, 0.5);
        let p = v3(10.0, -20.0, 30.0);
        assert!((r.invert(r.apply(p)) - p).len() < 1e-4);
    }

    /// Distances on the axes of simple solids are what geometry says.
    #[test]
    fn solids_have_their_surfaces() {
        assert!(ellipsoid(v3(5.0, 0.0, 0.0), v3(5.0, 8.0, 3.0)).abs() < 1e-5);
        assert!((capsule(v3(0.0, 4.0, 0.0), V3::default(), v3(10.0, 0.0, 0.0), 1.0, 1.0) - 3.0).abs() < 1e-5);
    }
}
