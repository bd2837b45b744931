"""The embedded default policy: where it lies, and what tells one version of it from another."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

DEFAULT_POLICY_FOLDER = Path(__file__).parent / "checkpoints" / "default"


@cache
def default_policy_digest() -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of its weights, which each training of it changes."""
    weights = b"".join(file.read_bytes() for file in sorted(DEFAULT_POLICY_FOLDER.glob("*.safetensors")))
    return hashlib.sha256(weights).hexdigest()[:16]
