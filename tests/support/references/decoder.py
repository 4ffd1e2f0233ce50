"""The inverse network as a plain training loop (He, Zhang and Lee 2019, section 5)."""

import copy
from math import cos, pi

import torch
from torch import Tensor, nn

from sltoolkit.networks.inverse import inverse_network
from sltoolkit.training.victim import Victim
from support.references.victims import Found, note, scores, smashed, targets_of, victims


def decoder(name: str, epochs: int, whats: dict[str, str]) -> Found:
    """min over d of the mean of (d(f(x')) - x')^2; `whats` names the cuts as the spec does."""
    found: Found = {}
    for facts, victim in victims(name):
        torch.manual_seed(3000 + facts["victim_seed"])
        x, _ = targets_of(victim)
        network = _trained(victim, epochs)
        with torch.no_grad():
            guess = network(smashed(victim, x))
        note(found, whats[facts["cut"]], scores(guess, x), "psnr_db", "ssim")
    return found


def _trained(victim: Victim, epochs: int) -> nn.Module:
    """Adam with rate 0.01 along a cosine; nine tenths of aux train, the rest chooses the epoch."""
    x = victim.data.aux.x[torch.randperm(len(victim.data.aux.x))]
    z, kept = smashed(victim, x), round(0.1 * len(x))
    own_x, own_z = x[kept:], z[kept:]
    network = inverse_network(z.shape[1:], x.shape[1:], width=8, mean=own_x.mean(0))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    best, state = float("inf"), network.state_dict()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + cos(pi * epoch / epochs)) / 2
        network.train()
        for rows in torch.randperm(len(own_x)).split(64):
            optimizer.zero_grad()
            (network(own_z[rows]) - own_x[rows]).square().mean().backward()
            optimizer.step()
        error = _error(network.eval(), z[:kept], x[:kept])
        if error < best:
            best, state = error, copy.deepcopy(network.state_dict())
    network.load_state_dict(state)
    return network.eval()


def _error(network: nn.Module, z: Tensor, x: Tensor) -> float:
    with torch.no_grad():
        return float((network(z) - x).square().mean())
