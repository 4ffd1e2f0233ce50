"""How often a training released a record, as counted on the wire."""

from sltoolkit.contracts.attack import Role
from sltoolkit.training.run import Run
from sltoolkit.wire.message import Link


def releases_heard(run: Run) -> dict[Role, int]:
    """Role -> releases of the record that its seat heard most often, in a run that is over.

    Every message of smashed data about a record counts: each epoch, and each time that a partition
    dealt the record out. A role counts on the link that fills its grant `smashed`: what other
    parties pass on of it is no further release. Where several parties each send a part of a record,
    the first one's link counts, since that party is never absent; `JointClient.guarantee` composes
    over the parties.
    """
    return {role: _most(run, role) for role in run.protocol.seats}


def _most(run: Run, role: Role) -> int:
    source = run.protocol.seats[role].links.get("smashed")
    if source is None:
        return 0
    return run.cast.wire.most_about_one_record(Link(source.src, source.dst, source.kind))
