"""The same parties in separate processes, one per seat, over torch.distributed.

    torchrun --nproc-per-node 3 -m sltoolkit.serve spec.toml --out runs/served

Every process seats the whole cast from the spec and runs the same protocol loop. Parties that live
elsewhere are placeholders (`placeholders`), and the wire's messages travel (`carrier`, over
`transport`). If a process fails, all others stop and say whose fault it was (`liveness`);
`--resume` goes on from the last epoch of which every process has a checkpoint (`state`).
"""

from sltoolkit.serve.process import Finished, Process, run_process, this_process

__all__ = ["Finished", "Process", "run_process", "this_process"]
