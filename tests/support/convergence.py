"""Whether a defense's own networks have learned what they can when the training ends."""

import copy
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.data.samples import Samples
from sltoolkit.defenses import DISCO
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim
from sltoolkit.wire.turn import Turn


@final
@dataclass(frozen=True, kw_only=True)
class Losses:
    """DISCO's two losses on all training samples: the proxy adversary's, and the pruner's."""

    adversary: float
    pruner: float


@final
@dataclass(kw_only=True, eq=False)
class Rest:
    """The client and server of a trained victim, which stay as they are, and its training samples.

    Attributes:
        victim: the victim.
        steps: how many batches a network trains on.
        rate: the rate (Adam) at which it does so; it falls to zero.
    """

    victim: Victim
    steps: int
    rate: float = 3e-3

    @property
    def samples(self) -> Samples:
        return self.victim.data.private_train

    def losses(self, defense: DISCO, draws: int = 4) -> Losses:
        """The losses of `defense` in the victim, means over draws of its masks."""
        found = []
        everything = torch.arange(len(self.samples))
        for draw in range(draws):
            with torch.no_grad():
                error, objective = self._batch(defense, everything, draw)
            found.append(torch.stack([error, objective]))
        error, objective = torch.stack(found).mean(0).tolist()
        return Losses(adversary=error, pruner=objective)

    def left_to_learn(self, network: str) -> float:
        """The share of a network's decline that is left at the end of the training.

        That is (now - last) / (first - last), for its loss with the other network as it is: `first`
        before any training, `now` where the training ended, `last` after `steps` more.
        """
        defense = self.victim.client.defense
        assert isinstance(defense, DISCO)
        fresh, end, later = (copy.deepcopy(defense) for _ in range(3))
        self._train_on(later, network)
        for layer in fresh.learned()[network].modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
                layer.reset_parameters()
        first, now, last = (getattr(self.losses(d), network) for d in (fresh, end, later))
        return float((now - last) / (first - last))

    def _train_on(self, defense: DISCO, network: str) -> None:
        """Teach this network only, for `steps` batches."""
        optimizer = torch.optim.Adam(defense.learned()[network].parameters(), lr=self.rate)
        rng = Stream(1).torch()
        for step in range(self.steps):
            optimizer.param_groups[0]["lr"] = self.rate * (1 - step / self.steps)
            rows = torch.randperm(len(self.samples), generator=rng)[:64]
            loss = self._batch(defense, rows, step)[network == "pruner"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _batch(self, defense: DISCO, rows: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """The adversary's loss and the pruner's, each with a graph to the network that descends."""
        x, y = self.samples.x[rows], self.samples.y[rows]
        turn = Turn(ids=rows, x=x, y=None, step=0, epoch=0, phase="train", rng=Stream(seed))
        with torch.no_grad():
            z = self.victim.client.client(x)
        sent = defense.smash(z, turn)
        privacy = defense.client_loss(sent, turn)
        assert privacy is not None
        # what was sent carries (1 - alpha) of the task's gradient to the pruner
        task = functional.cross_entropy(self.victim.server(sent), y)
        value = (1 - defense.alpha) * task.detach() + task - task.detach()
        error = functional.mse_loss(defense.learned()["adversary"](sent.detach()), x)
        return error, value + privacy
