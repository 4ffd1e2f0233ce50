"""The same few images in both layouts, and their labels."""

import numpy as np
import torch

RNG = np.random.default_rng(0)
NCHW = RNG.integers(0, 256, (6, 3, 5, 7), np.uint8)
NHWC = NCHW.transpose(0, 2, 3, 1)
PIXELS = torch.from_numpy(NCHW) / 255
LABELS = np.array([0, 2, 1, 1, 0, 2])
