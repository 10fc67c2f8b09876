"""Two-dimensional head slices drawn in NumPy: the warm-up that teaches edges and densities before the phantoms come.

They have a skull, brain, ventricles, falx, scalp and noise, and bleeds of the five kinds at 50-90 HU with masks; far simpler than the
phantoms of tools/phantom, and used only to start from something better than random filters.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

SIZE = 256


def smooth_field(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Unit-variance smooth noise with about `cells` bumps along each side."""
    field = zoom(rng.normal(size=(cells, cells)), SIZE / cells, order=3)[:SIZE, :SIZE]
    return field / (field.std() + 1e-6)


class Head:
    """The geometry of one slice in coordinates centred on the head and aligned with its midline."""

    def __init__(self, rng: np.random.Generator):
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
        angle = rng.normal(0, 0.12)
        dx, dy = x - SIZE / 2 - rng.normal(0, 5), y - SIZE / 2 - rng.normal(0, 5)
        self.u = np.cos(angle) * dx + np.sin(angle) * dy
        self.v = -np.sin(angle) * dx + np.cos(angle) * dy
        scale = rng.uniform(0.45, 1.0) if rng.random() < 0.35 else rng.uniform(0.85, 1.12)
        self.a, self.b = 82 * scale * rng.uniform(0.92, 1.08), 100 * scale
        self.wobble = 0.02 * smooth_field(rng, 6)
        self.radius = (np.abs(self.u / self.a) ** 2.2 + np.abs(self.v / self.b) ** 2.2) ** (1 / 2.2) + self.wobble
        self.bone = rng.uniform(5, 10) / self.a
        self.scalp = rng.uniform(4, 9) / self.a
        self.brain = self.radius < 1
        self.scale = scale

    def ventricles(self, rng: np.random.Generator) -> np.ndarray:
        """Two horns about the midline."""
        inside = np.zeros((SIZE, SIZE), bool)
        width, length, bend = rng.uniform(4, 10) * self.scale, rng.uniform(18, 38) * self.scale, rng.uniform(0.1, 0.45)
        centre_v = rng.normal(0, 8)
        for side in (-1, 1):
            u = side * self.u - rng.uniform(8, 14) * self.scale - bend * np.abs(self.v - centre_v)
            inside |= (u / width) ** 2 + ((self.v - centre_v) / length) ** 2 < 1
        return inside & (self.radius < 0.75)


def lesion(head: Head, ventricles: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    """The mask of one bleed."""
    theta, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.7)
    cu, cv = r * head.a * np.cos(theta), r * head.b * np.sin(theta)
    if kind == "intraparenchymal":
        ru, rv = rng.uniform(4, 22, 2) * head.scale
        d = ((head.u - cu) / ru) ** 2 + ((head.v - cv) / rv) ** 2 + 0.25 * smooth_field(rng, 16)
        return (d < 1) & (head.radius < 0.93)
    if kind == "epidural":
        cu, cv, rr = 1.02 * head.a * np.cos(theta), 1.02 * head.b * np.sin(theta), rng.uniform(10, 32) * head.scale
        depth = rng.uniform(0.3, 0.8)
        radial = (head.u * np.cos(theta) + head.v * np.sin(theta)) - np.hypot(cu, cv)
        tangential = -head.u * np.sin(theta) + head.v * np.cos(theta) + cu * np.sin(theta) - cv * np.cos(theta)
        return (radial / (rr * depth)) ** 2 + (tangential / rr) ** 2 < 1
    angle = np.arctan2(head.v / head.b, head.u / head.a)
    off = np.abs((angle - theta + np.pi) % (2 * np.pi) - np.pi)
    if kind == "subdural":
        span, thickness = rng.uniform(0.4, 1.4), rng.uniform(0.05, 0.2)
        return head.radius > 1 - thickness * np.clip(1 - (off / span) ** 2, 0, 1)
    if kind == "intraventricular":
        level = rng.uniform(-10, 25) * head.scale
        return ventricles & (head.v > level)
    sulci = np.abs(smooth_field(rng, int(rng.integers(18, 30)))) < rng.uniform(0.15, 0.35)
    return sulci & (off < rng.uniform(0.3, 1.0)) & (head.radius > rng.uniform(0.6, 0.8)) & (head.radius < 0.985)


KINDS = ("epidural", "subdural", "intraparenchymal", "intraventricular", "subarachnoid")


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """HU int16 [256, 256] and mask uint8; about half the slices bleed."""
    rng = np.random.default_rng(seed)
    head = Head(rng)
    ventricles = head.ventricles(rng) if rng.random() < 0.75 else np.zeros((SIZE, SIZE), bool)
    hu = np.full((SIZE, SIZE), -1000.0)
    hu[head.radius < 1 + head.bone + head.scalp] = rng.uniform(10, 55)
    shell = (head.radius >= 1) & (head.radius < 1 + head.bone)
    hu[shell] = rng.uniform(700, 1700) + 150 * smooth_field(rng, 24)[shell]
    tissue = rng.uniform(28, 38) + 2.5 * smooth_field(rng, 14) + 1.5 * smooth_field(rng, 5)
    sulci = (np.abs(smooth_field(rng, 26)) < 0.18) & (head.radius > 0.8)
    tissue[sulci] = rng.uniform(8, 22)
    hu[head.brain] = tissue[head.brain]
    hu[ventricles] = rng.uniform(3, 12)
    falx = (np.abs(head.u) < rng.uniform(0.6, 1.6)) & head.brain & (np.abs(head.v) > rng.uniform(0.3, 0.6) * head.b)
    hu[falx] = rng.uniform(42, 62)
    _distract(hu, head, rng)
    mask = np.zeros((SIZE, SIZE), bool)
    if rng.random() < 0.55:
        for kind in rng.choice(KINDS, size=1 if rng.random() < 0.75 else 2, replace=False):
            bleed = lesion(head, ventricles, rng, str(kind)) & head.brain
            value = rng.uniform(50, 62) if kind == "subarachnoid" else rng.uniform(52, 88)
            hu[bleed] = value + 3 * smooth_field(rng, 20)[bleed]
            mask |= bleed
    hu = gaussian_filter(hu, rng.uniform(0.5, 0.9))
    grain = gaussian_filter(rng.normal(size=hu.shape), rng.uniform(0.4, 1.0))
    hu += grain / grain.std() * rng.uniform(2, 6.5)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16), mask.astype(np.uint8)


def _distract(hu: np.ndarray, head: Head, rng: np.random.Generator) -> None:
    """Hard negatives: calcifications, base-of-skull bone and air, streaks, cupping."""
    for _ in range(rng.poisson(0.6)):
        cu, cv, r = rng.normal(0, 25), rng.normal(0, 30), rng.uniform(1.2, 4)
        hu[((head.u - cu) ** 2 + (head.v - cv) ** 2 < r * r) & head.brain] = rng.uniform(100, 400)
    if rng.random() < 0.25:
        base = (smooth_field(rng, 9) > 1.0) & (head.radius < 1) & (head.radius > 0.35)
        hu[base] = rng.uniform(300, 1200)
        hu[(smooth_field(rng, 12) > 1.4) & (head.radius < 1) & (head.radius > 0.4)] = -950
    if rng.random() < 0.3:
        angle = rng.uniform(0, np.pi)
        band = np.sin(angle) * head.u + np.cos(angle) * head.v - rng.normal(0, 30)
        hu[head.brain] += (rng.uniform(-12, 12) * np.exp(-((band / rng.uniform(2, 12)) ** 2)))[head.brain]
    cup = rng.uniform(-2, 9)
    hu[head.brain] += (cup * np.clip(head.radius, 0, 1) ** 4)[head.brain]
