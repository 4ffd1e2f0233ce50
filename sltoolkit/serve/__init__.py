"""The same parties in separate processes, one per seat, over torch.distributed.

    torchrun --nproc-per-node 3 -m sltoolkit.serve spec.toml --out runs/served

Every process seats the whole cast from the spec and runs the same protocol loop; whoever isn't
there is a ghost (`placeholders`), and the wire's messages travel (`carrier`, over `transport`). If
a process fails, all others stop and say whose fault it was (`liveness`); `--resume` goes on from
the last epoch of which everybody has a checkpoint (`state`).
"""

from sltoolkit.serve.process import Finished, Rank, run_rank, this_rank

__all__ = ["Finished", "Rank", "run_rank", "this_rank"]
