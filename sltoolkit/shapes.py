"""Shape aliases. They document shapes for readers, and the tests check them at run time."""

from jaxtyping import Float, Int
from torch import Tensor

Images = Float[Tensor, "n c h w"]
"""Pixels in [0, 1], float, NCHW."""

Batch = Float[Tensor, "n ..."]
"""Samples of any shape: images, or feature vectors."""

PerTarget = Float[Tensor, " n"]
"""One number per target."""

Labels = Int[Tensor, " n"]
"""Class indices, int64."""

Scores = Float[Tensor, "n classes"]
"""One score per target and class; the highest is the guess."""

Scalar = Float[Tensor, ""]
"""A single number as a tensor, because it may carry a gradient."""
