"""Communication reducers: half precision, k-bit quantization, top-k.

`sltoolkit.wire.codec` explains how they are used. They are deterministic: the same tensor gives the
same bytes.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, final

import torch
from torch import Tensor, nn

from sltoolkit.parameters.parameter import Parameter
from sltoolkit.wire.codec import Packed, Reducer

Format = Literal["fp16", "bf16"]

_FORMATS = {"fp16": torch.float16, "bf16": torch.bfloat16}


@final
@dataclass(frozen=True, kw_only=True)
class HalfPrecision(Reducer):
    """Two bytes per number (Micikevicius et al. 2018; Kalamkar et al. 2019 for bfloat16).

    The relative error is at most 2^-11 in `fp16`, for sizes between 2^-14 and 65504, and 2^-8 in
    `bf16`. Larger finite numbers become the format's largest, not inf. In `fp16` numbers below 3e-8
    vanish, and gradients of a mean loss may be that small; `bf16` has the range of float32.
    """

    format: Annotated[Format, Parameter("`fp16` (10 bits of mantissa) or `bf16` (7)")] = "fp16"

    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The rounded numbers (n, d)."""
        return (_saturating(rows, _FORMATS[self.format]),)

    def decode(self, packed: Packed) -> Tensor:
        """The same numbers in the packed dtype."""
        return _saturating(packed.parts[0], packed.dtype)


@final
@dataclass(frozen=True, kw_only=True)
class Quantized(Reducer):
    """Uniform k-bit quantization between each row's least and greatest number.

    With s = (high - low) / (2^k - 1): q = round((x - low) / s), x' = low + q s, so that the error
    is at most s / 2 (and one rounding of the dtype). A row costs k bits per number, and `low` and
    `high` in the dtype of the numbers; the codes of all rows are packed without gaps. A row arrives
    as nan if it holds inf or nan, or if its range overflows the dtype (float32 for shorter ones).
    """

    bits: Annotated[int, Parameter("k, bits per number", least=1, most=16)] = 8

    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Packed codes (ceil(n d k / 8),) uint8, and ranges (n, 2)."""
        bounds = torch.stack(rows.aminmax(dim=1), dim=1)
        low, step = self._grid(bounds)
        codes = (rows - low).div_(step).round_()
        codes = codes.nan_to_num_(0.0)  # 0 / 0 in a constant row, where any code will do
        codes.clamp_(0, 2**self.bits - 1)
        return _pack_bits(codes.to(torch.int32).flatten(), self.bits), bounds

    def decode(self, packed: Packed) -> Tensor:
        """The grid points (n, d)."""
        packed_codes, bounds = packed.parts
        low, step = self._grid(bounds)
        codes = _unpack_bits(packed_codes, self.bits, math.prod(packed.rows))
        return torch.addcmul(low, codes.view(packed.rows).to(step.dtype), step).to(packed.dtype)

    def _grid(self, bounds: Tensor) -> tuple[Tensor, Tensor]:
        """`low` and `step` (n, 1), in float32 at least."""
        wide = bounds.to(torch.promote_types(bounds.dtype, torch.float32))
        low, high = wide.split(1, dim=1)
        return low, (high - low) / (2**self.bits - 1)


@final
@dataclass(frozen=True, kw_only=True)
class TopK(Reducer):
    """The largest numbers of each row; the others arrive as 0 (Stich et al. 2018).

    A row costs ceil(fraction d) numbers and as many int32 places. Without feedback most of a
    client's weights arrive as 0.
    """

    fraction: Annotated[float, Parameter("share of a row that is kept", above=0, most=1)] = 0.1
    feedback: Annotated[
        bool, Parameter("whether later messages make up for what was dropped (not for samples)")
    ] = True

    @property
    def remembers(self) -> bool:
        """Whether a codec keeps error feedback for it."""
        return self.feedback

    def kept(self, width: int) -> int:
        """How many of `width` numbers are kept; the rounding of 0.07 * 100 adds none."""
        return max(1, math.ceil(self.fraction * width - 1e-9))

    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The kept numbers (n, k) and their places (n, k) int32."""
        places = rows.abs().topk(self.kept(rows.shape[1]), dim=1, sorted=False).indices
        return rows.gather(1, places), places.to(torch.int32)

    def decode(self, packed: Packed) -> Tensor:
        """Rows (n, d), 0 where nothing was kept.

        A place beyond the row, which only a faulty sender sends, counts as its first or last.
        """
        values, places = packed.parts
        within = places.long().clamp_(0, packed.rows[1] - 1)
        return values.new_zeros(packed.rows).scatter_(1, within, values)


REDUCERS: dict[str, type[Reducer]] = {
    "half": HalfPrecision,
    "quantize": Quantized,
    "top_k": TopK,
}


def _saturating(t: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in `dtype` in which finite numbers stay finite."""
    limit = torch.finfo(dtype).max
    if torch.finfo(t.dtype).max <= limit:
        return t.to(dtype, copy=True)
    cast = t.to(dtype)
    return torch.where(t.isfinite(), cast.clamp(-limit, limit), cast)


def _pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Codes (n,) int32 of `bits` bits -> (ceil(n bits / 8),) uint8, lowest bits first."""
    unit = math.gcd(bits, 8)  # digits of this many bits fill both codes and bytes
    return _joined(_digits(codes, bits, unit), 8, unit).to(torch.uint8)


def _unpack_bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first `count` codes of `_pack_bits`, int32."""
    unit = math.gcd(bits, 8)
    digits = _digits(packed.to(torch.int32), 8, unit)
    return _joined(digits[: count * bits // unit], bits, unit)


def _digits(numbers: Tensor, width: int, unit: int) -> Tensor:
    """Numbers (n,) of `width` bits -> their digits of `unit` bits (n width / unit,)."""
    split = torch.bitwise_right_shift(numbers[:, None], _places(width, unit, numbers))
    return split.bitwise_and_(2**unit - 1).flatten()


def _joined(digits: Tensor, width: int, unit: int) -> Tensor:
    """The inverse of `_digits`; the last number is filled up with zeros."""
    filled = nn.functional.pad(digits, (0, -len(digits) % (width // unit)))
    parts = filled.view(-1, width // unit)
    shifted = torch.bitwise_left_shift(parts, _places(width, unit, digits))
    return shifted.sum(1, dtype=torch.int32)


def _places(width: int, unit: int, like: Tensor) -> Tensor:
    """Where the digits of a number of `width` bits begin."""
    return torch.arange(0, width, unit, dtype=torch.int32, device=like.device)
