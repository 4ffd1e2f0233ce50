"""Attacks on a training as plain loops: SDAR, PCAT, FSHA and its property inference.

Each trains client and server (and tail) itself, with Adam on cross-entropy in random batches, and
follows the losses of Zhu et al. 2025, Gao and Zhang 2023 or Pasquini et al. 2021 in every step.
"""

import copy
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.data.targets import label_targets
from sltoolkit.networks.conditioning import Conditioned, LabelChannel
from sltoolkit.networks.critics import feature_critic, image_critic, residual_critic
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.networks.substitutes import pooled_substitute, strided_substitute, transposed_decoder
from sltoolkit.parties.settings import Training
from sltoolkit.training.victim import Victim
from support.references.victims import Found, note, scores, targets_of, victims

cross_entropy = functional.cross_entropy


def adam(*networks: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for n in networks for p in n.parameters()], lr=lr)


def follow(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    optimizer.step()


def squared(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean()


def bce(logits: Tensor, real: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


class Honest:
    """The parties before their training; `tail` is None if the server computes the logits."""

    def __init__(self, victim: Victim, training: Training, seed: int) -> None:
        torch.manual_seed(seed)
        member, self.data, self.training = victim.client, victim.data, training
        self.client, self.server = (
            copy.deepcopy(n).requires_grad_(True).train() for n in (member.client, victim.server)
        )
        tail = member.tail
        self.tail = None if tail is None else copy.deepcopy(tail).requires_grad_(True).train()
        parties = [self.client, self.server, *([self.tail] if self.tail else [])]
        self.optimizer = adam(*parties, lr=training.lr)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of all epochs."""
        held = self.data.private_train
        for _ in range(self.training.epochs):
            for rows in torch.randperm(len(held.y)).split(self.training.batch_size):
                yield held.x[rows], held.y[rows]

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """All parties learn the task for one step; returns what the client sent, (B, ...)."""
        z = self.client(x)
        out = self.server(z)
        follow(self.optimizer, cross_entropy(self.tail(out) if self.tail else out, y))
        return z.detach()  # type: ignore[no-any-return]

    def own(self, count: int) -> tuple[Tensor, Tensor]:
        """Samples of the attacker, drawn with replacement."""
        aux = self.data.aux
        rows = torch.randint(len(aux.y), (count,))
        return aux.x[rows], aux.y[rows]


def frozen(network: nn.Module) -> nn.Module:
    """A copy of the network in evaluation mode, which no longer learns."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def renewed(network: nn.Module) -> nn.Module:
    """The same architecture with fresh weights."""
    network = copy.deepcopy(network).requires_grad_(True).train()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.reset_parameters()
    return network


def sdar(name: str) -> Found:
    """`sdar` and `sdar_u_shaped`: a simulator, a decoder and their two critics."""
    found: Found = {}
    for facts, victim in victims(name, trained=False):
        honest = Honest(victim, facts["training"], 4000 + facts["victim_seed"])
        x, y = targets_of(victim)
        decoder, tail = _sdar(honest, victim)
        z = honest.client.eval()(x)
        with torch.no_grad():
            given = (z, y) if tail is None else (z,)
            note(found, facts["cut"], scores(decoder.eval()(*given), x), "mse")
            if tail is not None:
                named = tail.eval()(honest.server.eval()(z)).argmax(1)
                right = {"label_accuracy": float((named == y).double().mean())}
                note(found, "labels", right, "label_accuracy")
    return found


def _sdar(honest: Honest, victim: Victim) -> tuple[nn.Module, nn.Module | None]:
    """The trained decoder and, for the U-shape, the simulated tail."""
    task, aux = victim.task, honest.data.aux
    shape, seen = task.smashed_shape, honest.tail is None
    e = renewed(honest.client)
    channel = LabelChannel(shape, task.classes) if seen else None
    d = inverse_network(
        channel.out if channel else shape, task.input_shape, width=8, mean=aux.x.mean(0),
        scaled=False,
    )  # fmt: skip
    d = Conditioned(channel, d) if channel else d
    classes = task.classes if seen else None
    d_e = feature_critic(shape, classes=classes, width=4)
    d_d = image_critic(task.input_shape, classes=classes, width=4)
    tail = None if honest.tail is None else renewed(honest.tail)
    on_e = adam(e, *([tail] if tail else []), lr=1e-3)
    on_d, on_d_e, on_d_d = adam(d, lr=2e-3), adam(d_e, lr=0.02 * 1e-3), adam(d_d, lr=1e-5 * 2e-3)
    for x, y in honest.batches():
        z, (x1, y1) = honest.step(x, y), honest.own(len(x))
        g = frozen(honest.server)
        if not seen:
            anew = torch.rand(len(y1)) < 0.2
            y1 = torch.where(anew, torch.randint(task.classes, y1.shape), y1)
        theirs, ours = ((y,), (y1,)) if seen else ((), ())
        codes = e(x1)
        out = g(codes)
        fake, real = d_e(codes, *ours), d_e(z, *theirs)
        loss = cross_entropy(tail(out) if tail else out, y1) + 0.02 * bce(fake, 1)
        judged = bce(real, 1) + bce(fake, 0)
        _all({on_e: loss, on_d_e: judged})
        codes = e(x1).detach()
        guess = d(z, *theirs)
        fake, real = d_d(guess, *theirs), d_d(x1, *ours)
        _all({
            on_d: squared(d(codes, *ours), x1) + 1e-5 * bce(fake, 1),
            on_d_d: bce(real, 1) + bce(fake, 0),
        })  # fmt: skip
    return d, tail


def _all(losses: dict[torch.optim.Optimizer, Tensor]) -> None:
    """Take all gradients before any network takes its step."""
    slopes = {}
    for optimizer, loss in losses.items():
        weights = optimizer.param_groups[0]["params"]
        slopes[optimizer] = torch.autograd.grad(loss, weights, retain_graph=True)
    for optimizer, taken in slopes.items():
        for weight, slope in zip(optimizer.param_groups[0]["params"], taken, strict=True):
            weight.grad = slope
        optimizer.step()


def pcat() -> Found:
    """`pcat`: the pseudo-client and its decoder, on own samples with the batch's labels."""
    found: Found = {}
    for facts, victim in victims("pcat", trained=False):
        honest = Honest(victim, facts["training"], 5000 + facts["victim_seed"])
        task, aux = victim.task, honest.data.aux
        f = pooled_substitute(task.input_shape, task.smashed_shape)
        d = inverse_network(
            task.smashed_shape, task.input_shape, width=8, mean=aux.x.mean(0), scaled=False
        )
        on_f, on_d = adam(f, lr=1e-3), adam(d, lr=2e-3)
        for x, y in honest.batches():
            honest.step(x, y)
            rows = [_one_of(aux.y, int(label)) for label in y]
            x1, y1 = aux.x[rows], aux.y[rows]
            follow(on_f, cross_entropy(frozen(honest.server)(f(x1)), y1))
            follow(on_d, squared(d(f(x1).detach()), x1))
        x, _ = targets_of(victim)
        with torch.no_grad():
            guess = d.eval()(honest.client.eval()(x))
        note(found, "reconstruction", scores(guess, x), "mse")
        held = honest.data.private_holdout
        with torch.no_grad():
            named = frozen(honest.server)(f.eval()(held.x)).argmax(1)
        right = {"model_accuracy": float((named == held.y).double().mean())}
        note(found, "accuracy of pseudo-client and server", right, "model_accuracy")
    return found


def _one_of(y: Tensor, label: int) -> int:
    """A random sample with this label."""
    rows = (y == label).nonzero().flatten()
    return int(rows[torch.randint(len(rows), (1,))])


def fsha() -> Found:
    """`fsha`: pilot, decoder and critic learn; the client follows the critic."""
    found: Found = {}
    for facts, victim in victims("fsha", trained=False):
        seed = 6000 + facts["victim_seed"]
        task = victim.task
        torch.manual_seed(seed)
        pilot = strided_substitute(task.input_shape, task.smashed_shape, signed=False)
        decoder = transposed_decoder(task.smashed_shape, task.input_shape, width=16)
        honest = Honest(victim, facts["training"], seed)
        _hijack(honest, victim, pilot, decoder, lambda read, x, y: squared(read, x))
        x, _ = targets_of(victim)
        with torch.no_grad():
            guess = decoder.eval()(honest.client.eval()(x))
        note(found, facts["swept"], scores(guess, x), "mse")
    return found


def fsha_property() -> Found:
    """`fsha_property`: a classifier reads the pilot's codes in place of the decoder."""
    found: Found = {}
    for facts, victim in victims("fsha_property", trained=False):
        seed = 7000 + facts["victim_seed"]
        task = victim.task
        torch.manual_seed(seed)
        pilot = strided_substitute(
            task.input_shape, task.smashed_shape, activation=nn.SiLU, signed=False
        )
        reader = nn.Sequential(nn.Flatten(), nn.Linear(prod(task.smashed_shape), 1))
        honest = Honest(victim, facts["training"], seed)

        def wrong(read: Tensor, x: Tensor, y: Tensor) -> Tensor:
            has = (y < 5).to(read.dtype)[:, None]
            return functional.binary_cross_entropy_with_logits(read, has)

        _hijack(honest, victim, pilot, reader, wrong)
        known, _ = label_targets(victim.data.private_train, victim.targets, seed=victim.recipe.seed)
        x, y = known.x, known.y
        with torch.no_grad():
            said = reader(honest.client.eval()(x)).flatten() > 0
        accuracy = {"attribute_accuracy": float((said == (y < 5)).double().mean())}
        note(found, "attribute", accuracy, "attribute_accuracy")
    return found


def _hijack(
    honest: Honest, victim: Victim, pilot: nn.Module, reader: nn.Module, wrong: Any
) -> None:
    """One critic step per batch, penalty 10 per sample; the client descends on E[D(z)]."""
    critic = residual_critic(victim.task.smashed_shape, width=16, blocks=1)
    on_pilot, on_critic = adam(pilot, reader, lr=1e-3), adam(critic, lr=1e-3)
    on_client = adam(honest.client, lr=honest.training.lr)
    for x, _ in honest.batches():
        z, (x1, y1) = honest.client(x), honest.own(len(x))
        codes = pilot(x1)
        share = torch.rand(len(x), *(1,) * (z.dim() - 1))
        point = (share * z.detach() + (1 - share) * codes.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(critic(point).sum(), point, create_graph=True)
        penalty = (slope.square().flatten(1).sum(1).sqrt() - 1).square().mean()
        apart = critic(codes.detach()).mean() - critic(z.detach()).mean()
        _all({
            on_client: critic(z).mean(),
            on_pilot: wrong(reader(codes), x1, y1),
            on_critic: apart + 10 * penalty,
        })  # fmt: skip
