"""A Collector as a function: journal lines in, the lines that its file exporter would write out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

_PARTS = (("resourceLogs", "scopeLogs", "logRecords"), ("resourceSpans", "scopeSpans", "spans"))


def journal(job: Path) -> list[str]:
    """Every line of every journal file of a job."""
    return [line for path in sorted(job.rglob("*.jsonl")) for line in path.read_text().splitlines()]


def collected(
    lines: Iterable[str], chance: random.Random, *, batch: int = 50, repeats: float = 0.1, sort: bool = True
) -> list[str]:
    """The records of these lines shuffled, some repeated, in batches by resource and scope, attributes sorted."""
    found: list[tuple[int, Any, Any, Any]] = []
    for line in lines:
        tree = json.loads(line)
        for kind, (resources, scopes, records) in enumerate(_PARTS):
            for of_resource in tree.get(resources, ()):
                for of_scope in of_resource[scopes]:
                    found += [(kind, of_resource["resource"], of_scope, record) for record in of_scope[records]]
    found += [each for each in found if chance.random() < repeats]
    chance.shuffle(found)
    made = []
    for kind, (resources, scopes, records) in enumerate(_PARTS):
        mine = [each for each in found if each[0] == kind]
        while mine:
            size = chance.randint(1, batch)
            some, mine = mine[:size], mine[size:]
            tree: dict[str, dict[str, Any]] = {}
            for _, resource, of_scope, record in some:
                scope = {key: of for key, of in of_scope.items() if key != records}
                of_resource = tree.setdefault(
                    json.dumps(resource), {"resource": _sorted(resource) if sort else resource, scopes: {}}
                )
                of_resource[scopes].setdefault(json.dumps(scope), {**scope, records: []})[records].append(
                    _sorted(record) if sort else record
                )
            made.append(json.dumps({resources: [{**of, scopes: [*of[scopes].values()]} for of in tree.values()]}))
    chance.shuffle(made)
    return made


def _sorted(record: Any) -> Any:
    return {**record, "attributes": sorted(record.get("attributes", []), key=lambda of: of["key"])}
