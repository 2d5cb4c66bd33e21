"""What a comparison measures: its tables, and their rows in order."""

from __future__ import annotations

from dataclasses import dataclass

from layers import OPS, Layer, load, random_problem
from operators import PROBLEMS, Operator, random_operator_problem

TABLES = (*OPS, *PROBLEMS)


@dataclass(frozen=True)
class Task:
    """One row: a layer in the direction the table is named after, or one op of its family."""

    table: str
    subject: Layer | Operator
    op: str

    @property
    def name(self):
        return self.subject.name

    @property
    def key(self):
        """What records call it."""
        return {"layer": self.name, "op": self.op}

    @property
    def label(self):
        return self.name if self.op == self.table else f"{self.name} {self.op}"

    def random_problem(self, job):
        options = {key: job[key] for key in ("dtype", "threads", "seed")}
        if self.table in OPS:
            return random_problem(self.subject, self.op, **options)
        return random_operator_problem(self.subject, self.op, layout=job["layout"], **options)


def rows(settings, table):
    """settings: set, layers and problems, the names chosen."""
    if table in OPS:
        chosen = set(settings["layers"])
        return [Task(table, one, table) for one in load(settings["set"]) if one.name in chosen]
    chosen = [one for one in PROBLEMS[table] if one.name in settings["problems"]]
    return [Task(table, one, op) for one in chosen for op in one.ops]


def tasks(settings):
    """Rows of all tables, settings["ops"], those of one layer together."""
    found = [task for table in settings["ops"] for task in rows(settings, table)]
    place = {name: i for i, name in enumerate(dict.fromkeys(task.name for task in found))}
    return sorted(found, key=lambda task: place[task.name])
