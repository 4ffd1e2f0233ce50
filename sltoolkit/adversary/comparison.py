"""Comparing the settings of an attack by their errors on a few samples."""

import torch
from torch import Tensor


def first_among_equals(errors: Tensor) -> int:
    """The first row of `errors` (candidates, n) that is as good as the best, up to noise.

    A candidate is as good as the best if its mean excess error over the best, sample by sample, is
    at most one standard error. A few samples can't tell finer differences, and the default comes
    first. A candidate that diverges is never chosen over one that doesn't.
    """
    errors = errors.double().nan_to_num(nan=torch.inf, posinf=torch.inf)
    means = errors.mean(1)
    sane = means.isfinite()
    if not bool(sane.any()):
        return 0
    worse = errors - errors[means.argmin()]
    noise = worse.std(1, correction=min(1, worse.shape[1] - 1)) / worse.shape[1] ** 0.5
    return int((sane & (worse.mean(1) <= noise)).nonzero()[0])
