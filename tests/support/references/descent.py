"""The white box, the shadow and UnSplit as loops over single targets.

He, Zhang and Lee 2019, sections 4 and 6, and their public code; Erdogan, Kupcu and Cicek 2022,
section 3, and theirs.
"""

import copy
from math import cos, pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.training.victim import Victim
from support.references.victims import Found, note, scores, smashed, targets_of, victims


def variation(x: Tensor) -> Tensor:
    """Squared differences of neighbors, summed over the pairs, over the number of pixels."""
    dx = x[..., 1:] - x[..., :-1]
    dy = x[..., 1:, :] - x[..., :-1, :]
    return (dx.square().sum() + dy.square().sum()) / x.numel()


DEVIATIONS = {"he_mnist": 0.5, "he_whitebox": 0.226}
"""What He et al.'s code divides pixels by, for MNIST and for CIFAR-10."""


def invert(
    client: nn.Module, z: Tensor, shape: tuple[int, ...], weight: float, deviation: float
) -> Tensor:
    """One image (1, ...): 300 steps of AMSGrad with epsilon 1e-3 from gray, without a box.

    As in the public code, the leaf is x' = (x - 1/2) / deviation; rate (0.1) and weight are those
    for x, in [0, 1].
    """
    pixels = torch.zeros(1, *shape, requires_grad=True)
    optimizer = torch.optim.Adam([pixels], lr=0.1 / deviation, eps=1e-3, amsgrad=True)
    for _ in range(300):
        optimizer.zero_grad()
        feature = (client(pixels * deviation + 0.5) - z).square().mean()
        loss = feature + weight * deviation**2 * variation(pixels)
        loss.backward(inputs=[pixels])
        optimizer.step()
    return pixels.detach() * deviation + 0.5


def whitebox(name: str) -> Found:
    """The white box of `he_mnist` and `he_whitebox`."""
    found: Found = {}
    terms = {"conv1": ("white box, conv1", 0.0), "relu2": ("white box, ReLU2", 4.0)}
    for facts, victim in victims(name):
        what, weight = terms[facts["cut"]]
        x, _ = targets_of(victim)
        each = smashed(victim, x).split(1)
        shape, deviation = tuple(x.shape[1:]), DEVIATIONS[name]
        guess = [invert(victim.client.client, z, shape, weight, deviation) for z in each]
        note(found, what, scores(torch.cat(guess), x), "psnr_db", "ssim")
    return found


def shadow() -> Found:
    """`he_shadow`: a client is trained to fit the server, and the descent goes through it."""
    found: Found = {}
    for facts, victim in victims("he_shadow"):
        torch.manual_seed(1000 + facts["victim_seed"])
        x, _ = targets_of(victim)
        own, start = _shadow(victim), victim.data.aux.x.mean(0, keepdim=True)
        guess = [_through(own, z, start) for z in smashed(victim, x).split(1)]
        note(found, facts["cut"], scores(torch.cat(guess), x), "psnr_db", "ssim")
    return found


def _shadow(victim: Victim) -> nn.Module:
    """The shadow client: min CE(f_s(f^(x')), y') with f_s frozen; the rate is halved nine times."""
    client = copy.deepcopy(victim.client.client).train()
    for layer in client.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    server, aux = victim.server, victim.data.aux
    client.requires_grad_(True)
    optimizer = torch.optim.Adam(client.parameters(), lr=1e-3, eps=1e-3, amsgrad=True)
    kept = aux.x[100:], aux.y[100:]
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 1e-3 / 2 ** (step // 40)
        rows = torch.randperm(len(kept[1]))[:64]
        optimizer.zero_grad()
        functional.cross_entropy(server(client(kept[0][rows])), kept[1][rows]).backward()
        optimizer.step()
    return client.eval().requires_grad_(False)


def _through(client: nn.Module, z: Tensor, start: Tensor) -> Tensor:
    """One image: 200 steps of Adam whose rate falls from 0.05 along a cosine, in [0, 1]."""
    x = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=0.05)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + cos(pi * step / 200)) / 2
        optimizer.zero_grad()
        ((client(x) - z).square().mean() + 0.4 * variation(x)).backward()
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return x.detach()


def unsplit() -> Found:
    """`unsplit`: image and clone learn in turns, with a new clone for every target."""
    found: Found = {}
    for facts, victim in victims("unsplit"):
        torch.manual_seed(2000 + facts["victim_seed"])
        x, _ = targets_of(victim)
        guess = [_together(victim, z, x[:1]) for z in smashed(victim, x).split(1)]
        note(found, facts["cut"], scores(torch.cat(guess), x), "mse", "mse_affine")
    return found


def _together(victim: Victim, z: Tensor, like: Tensor) -> Tensor:
    """One image: 15 rounds of 20 steps on the image and 20 on the clone; AMSGrad with rate 0.01."""
    clone = copy.deepcopy(victim.client.client).requires_grad_(True)
    for layer in clone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    x = torch.full_like(like, 0.5, requires_grad=True)
    on_x = torch.optim.Adam([x], lr=0.01, amsgrad=True)
    on_w = torch.optim.Adam(clone.parameters(), lr=0.01, amsgrad=True)
    for _ in range(15):
        for _ in range(20):
            on_x.zero_grad()
            error = (clone(x) - z).square().mean()
            (error + 0.1 * variation(x) + x.square().mean()).backward()
            on_x.step()
        for _ in range(20):
            on_w.zero_grad()
            (clone(x) - z).square().mean().backward()
            on_w.step()
    return x.detach()
