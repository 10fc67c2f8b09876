"""Patient-wise splits from a seeded hash: a patient stays where he is when others are added."""

from __future__ import annotations

import hashlib


def position(patient: str, seed: int) -> float:
    """A number in [0, 1) that depends on patient and seed alone."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def is_held_out(patient: str, seed: int, share: float) -> bool:
    """Whether the patient belongs to the held-out `share`. A larger share keeps those of a smaller one."""
    return position(patient, seed) < share
