"""What a carrier between processes refuses, and what it hands over, with a simulated peer."""

from collections import deque
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.serve.carrier import Distributed
from sltoolkit.serve.header import DTYPES, KINDS, LENGTH, Header, prepared, unpacked
from sltoolkit.wire.message import SERVER, Kind, Seat

CLIENT = Seat("client", 1)
OTHER = Seat("client", 2)
HOMES = {SERVER: 0, CLIENT: 1, OTHER: 2}
LIKE = torch.empty(4, 2, 3, 3, dtype=torch.float64, device="meta")


class Line:
    """A transport that keeps what is sent, and hands out what a test put there."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.sent: deque[Tensor] = deque()
        self.coming: deque[Tensor] = deque()
        self.told: list[str] = []

    def send(self, to: int, *tensors: Tensor) -> float:
        self.sent += [t.clone() for t in tensors]
        return 0.0

    def receive(
        self, source: int, first: Tensor, then: Callable[[], Tensor] | None = None
    ) -> float:
        first.copy_(self.coming.popleft())
        if then is not None and (second := then()).numel():
            second.copy_(self.coming.popleft())
        return 0.0

    def fail(self, sentence: str) -> ProtocolError:
        self.told.append(sentence)
        return ProtocolError(sentence)


def server(*coming: Tensor) -> tuple[Distributed, Line]:
    line = Line(0)
    line.coming += coming
    return Distributed(line, HOMES, classes=5, device=torch.device("cpu")), line


def announced(t: Tensor, *, kind: Kind = "smashed", sequence: int = 0) -> tuple[Tensor, Tensor]:
    header, payload = prepared(t, sequence=sequence, kind=kind)
    return header.packed(), payload


def refused(*coming: Tensor, like: Tensor = LIKE, kind: Kind = "smashed") -> str:
    carrier, line = server(*coming)
    with pytest.raises(ProtocolError) as caught:
        carrier.carry(like, src=CLIENT, dst=SERVER, kind=kind)
    assert line.told == [str(caught.value)]  # the others hear the same
    return str(caught.value)


def test_a_wrong_shape_is_refused_before_its_payload_is_read() -> None:
    header, payload = announced(torch.zeros(4, 2, 3, 4, dtype=torch.float64))
    carrier, line = server(header, payload)
    with pytest.raises(ProtocolError, match=r"client\[1\]: sent smashed, torch.float64 of shape "):
        carrier.carry(LIKE, src=CLIENT, dst=SERVER, kind="smashed")
    assert len(line.coming) == 1


def test_a_wrong_shape_is_told_with_what_was_expected() -> None:
    told = refused(*announced(torch.zeros(4, 2, 3, 4, dtype=torch.float64)))
    assert "of shape 4x2x3x4; expected smashed, torch.float64 of shape 4x2x3x3" in told


def test_a_wrong_dtype_is_refused() -> None:
    told = refused(*announced(torch.zeros(4, 2, 3, 3)))
    assert "sent smashed, torch.float32" in told
    assert "expected smashed, torch.float64" in told


def test_a_wrong_kind_is_refused() -> None:
    told = refused(*announced(torch.zeros(4, 2, 3, 3, dtype=torch.float64), kind="smashed_grad"))
    assert "sent smashed_grad" in told


def test_a_message_out_of_turn_is_refused() -> None:
    told = refused(*announced(torch.zeros(4, 2, 3, 3, dtype=torch.float64), sequence=3))
    assert "sent message 3 where 0 was due" in told


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    t = torch.zeros(4, 2, 3, 3, dtype=torch.float64)
    t[3, 1, 2, 2] = bad
    assert "client[1]: sent smashed" in refused(*announced(t))
    assert "aren't finite" in refused(*announced(t))


@pytest.mark.parametrize(
    ("place", "value"), [(0, 7), (2, len(KINDS)), (2, -1), (3, len(DTYPES)), (4, 9), (5, -4)]
)
def test_what_is_no_header_is_refused(place: int, value: int) -> None:
    header, payload = announced(torch.zeros(4, 2, 3, 3, dtype=torch.float64))
    header[place] = value
    assert refused(header, payload) == "client[1]: sent something that is no header of this version"


def test_labels_may_come_as_weights_of_all_classes_and_only_so() -> None:
    like = torch.empty(4, dtype=torch.int64, device="meta")
    weights = torch.full((4, 5), 0.2, dtype=torch.float64)
    carrier, _ = server(*announced(weights, kind="labels"))
    assert torch.equal(carrier.carry(like, src=CLIENT, dst=SERVER, kind="labels"), weights)
    assert "expected labels" in refused(
        *announced(weights[:, :3], kind="labels"), like=like, kind="labels"
    )
    assert "expected labels" in refused(
        *announced(weights[0], kind="labels"), like=like, kind="labels"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_sent_arrives_with_its_memory_format(dtype: torch.dtype) -> None:
    t = (torch.arange(72).view(4, 3, 3, 2) % 2).to(dtype).permute(0, 3, 1, 2)
    line = Line(1)
    sender = Distributed(line, HOMES, classes=5, device=torch.device("cpu"))
    left = sender.carry(t, src=CLIENT, dst=SERVER, kind="smashed")
    assert left.is_meta
    assert left.shape == t.shape
    receiver, _ = server(*line.sent)
    like = torch.empty(t.shape, dtype=dtype, device="meta")
    arrived = receiver.carry(like, src=CLIENT, dst=SERVER, kind="smashed")
    assert torch.equal(arrived, t)
    assert arrived.stride() == t.stride() == t.clone().stride()


def test_an_empty_tensor_and_a_scalar_and_an_expanded_one_arrive() -> None:
    for t in (torch.zeros(0, 3), torch.tensor(2.5), torch.ones(1).expand(4, 3)):
        carrier, _ = server(*announced(t))
        arrived = carrier.carry(t.to("meta"), src=CLIENT, dst=SERVER, kind="smashed")
        assert torch.equal(arrived, t)
        assert arrived.is_contiguous()


def test_between_others_only_the_shape_goes_on() -> None:
    carrier, line = server()
    passed = carrier.carry(LIKE, src=CLIENT, dst=OTHER, kind="weights")
    assert passed.is_meta
    assert passed.shape == LIKE.shape
    assert not line.sent


def test_a_placeholder_has_nothing_to_send() -> None:
    line = Line(1)
    carrier = Distributed(line, HOMES, classes=5, device=torch.device("cpu"))
    with pytest.raises(ProtocolError, match=r"client\[1\]: has no smashed to send"):
        carrier.carry(LIKE, src=CLIENT, dst=SERVER, kind="smashed")


def test_a_header_says_what_it_was_made_of() -> None:
    header = Header(
        sequence=2**40, kind="weights", dtype=torch.bfloat16, shape=(7, 0, 2), order=(2, 0, 1)
    )
    assert header.packed().shape == (LENGTH,)
    assert unpacked(header.packed()) == header


def test_too_many_dimensions_are_refused() -> None:
    header, _ = prepared(torch.zeros((1,) * 9), sequence=0, kind="smashed")
    with pytest.raises(ProtocolError, match="at most 8 dimensions"):
        header.packed()
