"""The root of a victim's random streams, which nobody can guess.

A seed is public and small. Would the victim draw from it alone, an attacker could try seeds, draw
the victim's noise again, and subtract it from what was sent. So the root depends on the private
samples as well, which an attacker doesn't have, and on a salt, for data that everybody has.
"""

import hashlib

import torch

from sltoolkit.data.samples import Split
from sltoolkit.streams import Stream


def victim_stream(seed: int, data: Split, *, salt: str = "") -> Stream:
    """The root of a victim's streams: initialization, batches, dropout, the defense's noise.

    It is the same on every device, in every memory format, and in every floating-point type that
    holds the inputs exactly.

    Args:
        seed: the victim's seed.
        data: its private part counts: inputs and labels of `private_train` and `private_holdout`.
        salt: any text; where others own the private samples, a long random one.
    """
    # no prefix of it is published, unlike those of the split's digests
    digest = hashlib.sha256(f"victim\x1f{seed}\x1f{len(salt)}\x1f{salt}".encode())
    for samples in (data.private_train, data.private_holdout):
        for part in (samples.x, samples.y):
            dtype = torch.float32 if part.is_floating_point() else torch.int64
            digest.update(str(tuple(part.shape)).encode())
            digest.update(part.detach().to("cpu", dtype).contiguous().numpy().data)
    return Stream(int.from_bytes(digest.digest(), "big")).child("victim")


def salt_digest(salt: str) -> str:
    """What rows tell of a salt: eight digits of its hash, enough to match rows; empty without."""
    return hashlib.sha256(f"salt\x1f{salt}".encode()).hexdigest()[:8] if salt else ""
