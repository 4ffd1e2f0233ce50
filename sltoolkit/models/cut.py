"""Cutting a model into the parts that its parties hold.

The parts share modules and parameters with the model (nothing is copied), compose to it exactly in
training and in evaluation mode, and hold each parameter once. An `nn.Sequential`, nested or not, is
cut between its children and keeps its names, so the parts' `state_dict` keys are those of the
model. Any other module is cut through its torch.fx graph.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import chain

from torch import Tensor, nn

from sltoolkit.errors import SpecError, nearest
from sltoolkit.models.trace import is_leaf, trace

Place = str | int


class _IllegalCutError(SpecError):
    """More than one value would cross the cut."""


def cut(module: nn.Module, at: Place | Sequence[Place]) -> tuple[nn.Module, ...]:
    """The parts of `module`: (client, server) for one cut, (head, middle, tail) for two.

    Args:
        module: the model; its parts share its parameters.
        at: the submodule after which a part ends, by its dotted name or, for a child of an
            `nn.Sequential`, its index. Several places give one part more than places, in the
            order of execution.

    Raises:
        SpecError: if a name is unknown, more than one value would cross a cut, a part would be
            empty, a parameter would be in two parts or in none, or fx can't trace the module.
    """
    places = [at] if isinstance(at, str | int) else list(at)
    if not places:
        raise SpecError("name at least one place to cut at")
    names = [_name(module, place) for place in places]
    shown = ", ".join(map(repr, names))
    try:
        parts = _split(module, names)
    except _IllegalCutError as error:
        raise SpecError(f"can't cut at {shown}: {error}{_legal(module)}") from None
    if len(set(names)) < len(names) or any(_is_empty(part) for part in parts):
        raise SpecError(
            f"cutting at {shown} leaves nothing for one of the parts; cut before the end, and "
            f"several times at different places{_legal(module)}"
        )
    _check_partition(module, parts)
    _inherit_mode(module, parts)
    return tuple(parts)


def cut_points(module: nn.Module) -> list[str]:
    """The names after which `module` can be cut, in order of execution.

    Where several names mean the same place (a container and its last child), the outermost is
    given; `cut` takes all of them. Whether the value that crosses is a tensor (an LSTM's is not)
    shows only when the model runs; `profile_cuts` lists only the cuts where it is.

    Raises:
        SpecError: if fx can't trace the module.
    """
    names = _points(module)
    first: dict[int, int] = {}  # tensor -> the first part that holds it
    barred: set[int] = set()
    for number, part in enumerate(_split(module, names)):
        for tensor in _tensors(part):
            barred.update(range(first.setdefault(id(tensor), number), number))
    return [name for number, name in enumerate(names) if number not in barred]


def _points(module: nn.Module) -> list[str]:
    """The names after which one value crosses; tied parameters are not considered."""
    if not _is_sequential(module):
        return trace(module).cut_points()
    names = []
    for name, child in _children(module):
        names += [f"{name}.{inner}" for inner in _inner_points(child)]
        names.append(name)
    return names[:-1]


def _inner_points(child: nn.Module) -> list[str]:
    if is_leaf(child):
        return []
    try:
        return _points(child)
    except SpecError:  # a child that can't be traced is one block
        return []


def _name(module: nn.Module, place: Place) -> str:
    """The dotted name of a place, checked to exist."""
    if isinstance(place, int):
        if not _is_sequential(module):
            raise SpecError(f"{type(module).__name__} is cut by name, not by an index ({place})")
        names = [name for name, _ in _children(module)]
        if not 0 <= place < len(names):
            raise SpecError(f"there is no block {place} in 0..{len(names) - 1}{_legal(module)}")
        return names[place]
    known = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
    if place not in known:
        hint = nearest(place, known)
        raise SpecError(f"the model has no block called {place!r}{hint}{_legal(module)}")
    return place


def _legal(module: nn.Module) -> str:
    return f" (legal cuts: {', '.join(cut_points(module)) or 'none'})"


def _split(module: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The parts, one more than names; without operations one is an empty `nn.Sequential`."""
    if _is_sequential(module):
        return list(_split_sequential(module, names))
    traced = trace(module)
    for name in names:
        if obstacle := traced.obstacle(name):
            raise _IllegalCutError(obstacle)
    return traced.split(names)


def _split_sequential(module: nn.Module, names: Sequence[str]) -> Iterator[nn.Sequential]:
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in _children(module):
        prefix = f"{name}."
        inside = [place.removeprefix(prefix) for place in names if place.startswith(prefix)]
        for number, piece in enumerate(_split(child, inside) if inside else [child]):
            if number:
                yield nn.Sequential(blocks)
                blocks = OrderedDict()
            if piece is child or not _is_empty(piece):
                blocks[name] = piece
        if name in names:
            yield nn.Sequential(blocks)
            blocks = OrderedDict()
    yield nn.Sequential(blocks)


def _is_sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _is_empty(part: nn.Module) -> bool:
    return isinstance(part, nn.Sequential) and not len(part)


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """All children; `named_children` leaves out the second use of a shared one."""
    return [(name, child) for name, child in module._modules.items() if child is not None]


def _tensors(part: nn.Module) -> Iterator[Tensor]:
    return chain(part.parameters(), part.buffers())


def _check_partition(module: nn.Module, parts: Sequence[nn.Module]) -> None:
    names = {id(tensor): name for name, tensor in chain(*_named_tensors(module))}
    owner: dict[int, int] = {}
    for number, part in enumerate(parts):
        for tensor in _tensors(part):
            if owner.setdefault(id(tensor), number) != number:
                raise SpecError(
                    f"{names.get(id(tensor), 'a tensor')} would be in two parts: tied parameters "
                    f"can't be trained by two parties{_legal(module)}"
                )
    lost = [name for name, parameter in module.named_parameters() if id(parameter) not in owner]
    if lost:
        raise SpecError(
            f"the forward pass doesn't use {', '.join(lost)}: no part would hold them; delete them"
        )


def _named_tensors(module: nn.Module) -> tuple[Iterator[tuple[str, Tensor]], ...]:
    return module.named_parameters(), module.named_buffers()


def _inherit_mode(module: nn.Module, parts: Sequence[nn.Module]) -> None:
    """Give the new containers the training flag of the model; its own modules keep theirs."""
    own = {id(m) for m in module.modules()}
    for part in parts:
        for m in part.modules():
            if id(m) not in own:
                m.training = module.training
