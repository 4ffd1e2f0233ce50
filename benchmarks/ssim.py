"""Batched SSIM against scikit-image in a loop, on the same 1,000 images in the same run.

Run with `python benchmarks/ssim.py [--small]`; one thread, as a worker has.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from command_line import parser
from skimage.metrics import structural_similarity

from sltoolkit.metrics import ssim

BAR = 20.0
IMAGES = 1000
REPEATS = 5


def measure(
    channels: int = 1, side: int = 28, *, images: int = IMAGES, repeats: int = REPEATS
) -> dict[str, float]:
    """Time both on noisy copies of random images; the best of several alternating runs counts.

    Args:
        channels: channels of an image.
        side: side of an image, in pixels.
        images: how many images.
        repeats: how many runs of each.

    Returns:
        `ratio` (loop seconds / batched seconds), `bar` (the least ratio wanted), both times in
        seconds and the largest absolute difference of an image's SSIM.
    """
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(images, channels, side, side, generator=generator)
    x = (y + 0.1 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    a, b = (t.double().numpy() for t in (x, y))

    def loop() -> torch.Tensor:
        values = [
            structural_similarity(
                p,
                q,
                data_range=1.0,
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for p, q in zip(a, b, strict=True)
        ]
        return torch.from_numpy(np.array(values))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batched, looped = ssim(x, y), loop()  # also the warm-up
        # alternating, so that a busy moment of the machine slows both
        pairs = [(_seconds(lambda: ssim(x, y)), _seconds(loop)) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    batched_seconds, loop_seconds = (min(times) for times in zip(*pairs, strict=True))
    return {
        "ratio": loop_seconds / batched_seconds,
        "bar": BAR,
        "loop_seconds": loop_seconds,
        "batched_seconds": batched_seconds,
        "max_abs_difference": float((batched - looped).abs().max()),
    }


def _seconds(call: Callable[[], torch.Tensor]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(*, small: bool) -> None:
    """Print the comparison for gray and for color images."""
    images = 3 if small else IMAGES
    for channels, side in ((1, 28), (1, 32), (3, 32)):
        m = measure(channels, side, images=images, repeats=1 if small else REPEATS)
        print(
            f"{images} images of {channels}x{side}x{side}: "
            f"scikit-image {m['loop_seconds'] * 1e3:.0f} ms, "
            f"batched {m['batched_seconds'] * 1e3:.1f} ms, "
            f"{m['ratio']:.1f}x (bar {m['bar']:.0f}x), "
            f"max difference {m['max_abs_difference']:.1e}"
        )


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
