"""The order of jobs: each after the jobs it needs; attacks on stored victims come first."""

from sltoolkit.bench.engine import next_ready
from sltoolkit.bench.todo import Job


def run(victim: str, *, after: tuple[str, ...] = ()) -> Job:
    return Job(kind="run", victim=victim, cells=(), after=after)


def cell(key: str, victim: str, *, after: tuple[str, ...] | None = None) -> Job:
    needs = (f"run:{victim}",) if after is None else after
    return Job(kind="cell", victim=victim, cells=(key,), after=needs)


def order(jobs: list[Job]) -> list[str]:
    """The order in which one worker does the jobs."""
    waiting, done, ids = list(jobs), set[str](), {job.id for job in jobs}
    taken = []
    while job := next_ready(waiting, done, ids):
        waiting.remove(job)
        done.add(job.id)
        taken.append(job.id)
    return taken


def test_a_victims_attacks_follow_its_training_before_the_next_is_trained() -> None:
    jobs = [run("v"), run("w"), cell("a", "v"), cell("b", "w"), cell("c", "v")]

    assert order(jobs) == ["run:v", "cell:a", "cell:c", "run:w", "cell:b"]


def test_what_is_stored_already_is_not_waited_for() -> None:
    assert order([cell("a", "v")]) == ["cell:a"]


def test_all_needs_must_be_met() -> None:
    jobs = [cell("a", "v", after=("run:v", "cell:pilot")), run("v"), cell("pilot", "p", after=())]

    assert order(jobs) == ["cell:pilot", "run:v", "cell:a"]


def test_while_others_are_at_work_there_may_be_nothing_to_do() -> None:
    jobs = [run("v"), cell("a", "v")]
    ids = {job.id for job in jobs}

    assert next_ready(jobs[1:], set(), ids) is None
    assert next_ready([], set(), ids) is None
    assert next_ready(jobs[1:], {"run:v"}, ids) == jobs[1]


def test_jobs_that_wait_for_each_other_are_never_ready() -> None:
    jobs = [cell("a", "v", after=("cell:b",)), cell("b", "v", after=("cell:a",))]

    assert order(jobs) == []
