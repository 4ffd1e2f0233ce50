"""The columns of `results.csv`, in order, each with its type, unit and meaning.

A row is one metric of one cell: an attack (or `none`) on one victim. Columns are declared only
here: `rows.build` makes rows, `sltoolkit.report` reads them, and a generated page of the
documentation lists the columns.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, final, get_type_hints


@final
@dataclass(frozen=True)
class Column:
    """A column's meaning, and the unit of its numbers; pure numbers and texts have no unit."""

    meaning: str
    unit: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of results.

    Every table of results needs the fields without a default. Missing numbers are NaN, missing
    texts are empty or None: rows of failed cells, and of victims that are not attacked, lack what
    was not measured.
    """

    experiment: Annotated[
        str, Column("name of the experiment; empty for results of `sl.attack`")
    ] = ""
    cell: Annotated[
        str, Column("key under which the bench stores the cell: a hash of everything it depends on")
    ] = ""
    protocol: Annotated[str, Column("registered name of the protocol")]
    protocol_params: Annotated[str, Column("parameters of the protocol, as JSON")] = "{}"
    model: Annotated[str, Column("name of the model, with the parameters that were given for it")]
    cut: Annotated[
        str, Column("block after which the client's network ends; several are joined by `+`")
    ]
    dataset: Annotated[str, Column("name of the data set")]
    split: Annotated[
        str, Column("hashes of private training part, private holdout and aux, joined by `/`")
    ] = ""
    defense: Annotated[
        str, Column("registered name of the defense; the links of a chain are joined by `+`")
    ]
    defense_params: Annotated[
        str, Column("parameters of the defense, as JSON; a list for a chain, link by link")
    ]
    victim_seed: Annotated[
        int, Column("seed of initialization, batches, dropout and the defense's noise")
    ]
    salt: Annotated[
        str,
        Column("short hash of the salt that these depend on, too; empty without a salt"),
    ] = ""
    network: Annotated[
        str, Column("hash of the deployed weights: victims with the same one are one network")
    ] = ""
    training: Annotated[
        Mapping[str, Any] | None,
        Column("settings of the training; empty for a victim that was trained elsewhere"),
    ] = None
    epochs: Annotated[float, Column("epochs that the protocol ran")] = math.nan
    train_seconds: Annotated[
        float, Column("wall time of the victim's training, all parties in one process", "s")
    ] = math.nan
    partition: Annotated[
        str, Column("how samples were divided among clients; empty if they were dealt out in turn")
    ] = ""
    reducer: Annotated[str, Column("lossy codec on the wire; empty for none")] = ""
    reducer_error: Annotated[
        float | None,
        Column(
            "squared error of the codec on smashed data while training, relative to their squared "
            "norm; mean over links"
        ),
    ] = None
    heterogeneity: Annotated[
        float | None,
        Column(
            "mean total-variation distance between the class frequencies of a client and of all "
            "clients together"
        ),
    ] = None
    utility: Annotated[
        float, Column("accuracy of the deployed, defended system on the private holdout, 0 to 1")
    ] = math.nan
    holdout_unseen: Annotated[
        bool,
        Column(
            "whether the private holdout is known to be new to the network; if not, because it was "
            "trained elsewhere and nobody said on what, the accuracy may be over training data"
        ),
    ] = True
    chance: Annotated[
        float,
        Column(
            "accuracy of the best constant guess, which is the majority share: the share of the "
            "most frequent class of the private holdout, 0 to 1"
        ),
    ] = math.nan
    balanced_accuracy: Annotated[
        float,
        Column(
            "mean over the classes of the private holdout of the deployed system's accuracy on "
            "each, 0 to 1"
        ),
    ] = math.nan
    balanced_chance: Annotated[
        float,
        Column(
            "balanced accuracy of any constant guess: one over the classes that the private "
            "holdout has"
        ),
    ] = math.nan
    epoch_bytes: Annotated[
        float, Column("mean payload of one epoch, all links together", "bytes")
    ] = math.nan
    attack: Annotated[
        str, Column("registered name of the attack; `none` for a victim that is not attacked")
    ]
    attack_params: Annotated[
        str, Column("parameters of the attack as it was given, defaults included, as JSON")
    ]
    family: Annotated[
        str,
        Column(
            "what the attack is after: `reconstruction`, `labels` or `inference`; `utility` for a "
            "victim that is not attacked"
        ),
    ]
    attacker_seed: Annotated[int, Column("seed of the attacker's own randomness")] = 0
    target_set: Annotated[
        str | None, Column("part of the private data that the targets come from")
    ] = None
    checkpoint: Annotated[
        str | None, Column("state of the victim that was attacked; `final`: trained to the end")
    ] = None
    mounted: Annotated[
        str | None,
        Column(
            "when the attacker takes part: `afterwards`, `listening` to the training, or `actively`"
        ),
    ] = None
    isolated: Annotated[
        bool | None,
        Column("whether the attack ran in a process of its own, with its view and nothing else"),
    ] = None
    adaptive: Annotated[
        bool | None,
        Column(
            "whether the attack takes the defense into account: it holds the defense's parameters "
            "or learns from what the defense lets out"
        ),
    ] = None
    epsilon: Annotated[
        float | None,
        Column(
            "privacy budget that the defense claims, composed over the releases of a record that "
            "the attack received"
        ),
    ] = None
    seat_epsilon: Annotated[
        float | None,
        Column(
            "the same over all releases of a record that the attack's seat heard, training included"
        ),
    ] = None
    delta: Annotated[float | None, Column("delta of that budget")] = None
    role: Annotated[str | None, Column("seat from which the attack was mounted")] = None
    knowledge: Annotated[
        str | None, Column("grants that filled the attacker's view, joined by `+`")
    ] = None
    tuned: Annotated[str, Column("parameters that a rehearsal chose, with their values")] = ""
    metric: Annotated[str | None, Column("name of the metric")] = None
    value: Annotated[float, Column("mean of the metric over the targets", "of the metric")] = (
        math.nan
    )
    ci_low: Annotated[
        float,
        Column("lower end of the 95 % interval over the targets of this victim", "of the metric"),
    ] = math.nan
    ci_high: Annotated[float, Column("upper end of that interval", "of the metric")] = math.nan
    n: Annotated[float, Column("targets that were scored")] = math.nan
    value_trained: Annotated[
        float,
        Column(
            "mean over the targets that the victim trained on, if there are others, too",
            "of the metric",
        ),
    ] = math.nan
    value_unseen: Annotated[
        float, Column("mean over those others, which no party trained on", "of the metric")
    ] = math.nan
    trained_only: Annotated[
        bool | None,
        Column(
            "whether far less leaks about targets that the victim trained on than about others "
            "(less than half of the gain, at 99.9 % confidence), so that only the former seem to "
            "be protected; empty without targets of both kinds"
        ),
    ] = None
    baseline: Annotated[float, Column("mean score of the best baseline", "of the metric")] = (
        math.nan
    )
    baseline_name: Annotated[str, Column("name of that baseline")] = ""
    gain: Annotated[
        float,
        Column(
            "what the attack achieves beyond that baseline; positive means more leakage",
            "of the metric",
        ),
    ] = math.nan
    gain_low: Annotated[
        float,
        Column("lower end of its 95 % interval over the targets of this victim", "of the metric"),
    ] = math.nan
    gain_high: Annotated[float, Column("upper end of that interval", "of the metric")] = math.nan
    retrieval: Annotated[
        float, Column("mean score of the attack `retrieval`, for comparison", "of the metric")
    ] = math.nan
    releases: Annotated[float, Column("releases of one record that the attacker received")] = (
        math.nan
    )
    seat_releases: Annotated[
        float,
        Column(
            "releases of one record that the attack's seat heard, training included, for the "
            "record that was released most often"
        ),
    ] = math.nan
    queries: Annotated[
        float,
        Column(
            "inputs that the release oracle answered for the attack, rehearsal included; each "
            "repeat counts"
        ),
    ] = math.nan
    seconds: Annotated[float, Column("wall time of the attack", "s")] = math.nan
    peak_mb: Annotated[float, Column("peak memory of the process so far", "MB")] = math.nan
    sltoolkit: Annotated[str | None, Column("version of sltoolkit")] = None
    commit: Annotated[
        str | None, Column("commit of the checkout; empty for an installed package")
    ] = None
    torch: Annotated[str | None, Column("version of torch")] = None
    python: Annotated[str | None, Column("version of Python")] = None
    attack_given: Annotated[
        str,
        Column("the attack's table in the spec without its name, as JSON; empty for `sl.attack`"),
    ] = ""
    status: Annotated[str, Column("`ok`, or `failed`")] = "ok"
    reason: Annotated[str, Column("why the cell failed")] = ""
    swept: Annotated[
        str,
        Column(
            "swept settings that no other column states, with their values, such as "
            "`training.lr=0.1`"
        ),
    ] = ""


COLUMNS: Mapping[str, Column] = {
    name: annotation.__metadata__[0]
    for name, annotation in get_type_hints(Row, include_extras=True).items()
}
"""Name -> column, in the order of `results.csv`."""

NEEDED: tuple[str, ...] = tuple(f.name for f in fields(Row) if f.default is MISSING)
"""Columns without which rows can't be compared."""

BLANK: Mapping[str, Any] = {f.name: f.default for f in fields(Row) if f.default is not MISSING}
"""Every other column -> its value where nothing is known."""


SETTING = [
    "dataset",
    "model",
    "cut",
    "protocol",
    "protocol_params",
    "partition",
    "reducer",
    "swept",
]
"""The columns that must be equal if two defenses are compared."""

DEFENSE = ["defense", "defense_params"]
"""The columns that tell two defenses apart."""

THREAT = ["role", "knowledge", "adaptive", "target_set", "checkpoint"]
"""The columns in which one attack with the same parameters can pose different threats."""

VERSIONS = ["sltoolkit", "torch", "python"]
"""Versions that numbers depend on."""


def heading(column: str) -> str:
    """The name of a column as tables and pages write it."""
    return column.replace("_", " ")
