"""What was recorded, as a journal, a Collector's file and Jaeger have it: record by record, with all that was said.

Each is kept twice: as our decoder reads it, and as the JSON tree it was, with the fields that our decoder passes over.
JSON numbers are equal where they are the same number; the types of attribute values are keys of the tree.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.journal import decode
from otel_stageio.model import LogRecord, Resource, Scope, Span
from otel_stageio.ship.sources import sources
from tests.backends.programs import ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_stageio.job.layout import JobLayout
    from tests.backends.programs import Collector, Jaeger

#: Where records lie in OTLP/JSON, by signal: resources, scopes, records.
_PLACES = (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords"))
#: What Jaeger has to say of a span.
_WARNINGS = "@jaeger@warnings"


class Said(NamedTuple):
    """A record with who said it."""

    record: LogRecord | Span
    scope: Scope
    resource: Resource
    #: The same as the JSON has it.
    tree: dict[str, Any]

    @property
    def key(self) -> str:
        """What tells the record from any other: a span's id, a log record's uid."""
        of = self.record
        return of.span_id if isinstance(of, Span) else str(of.attributes[names.LOG_RECORD_UID])


def records(document: Any) -> Iterator[Said]:
    """The records of an OTLP/JSON object."""
    read = [(record, line.scope, line.resource) for line in decode.lines(document) for record in line.records]
    for said, tree in zip(read, _trees(document), strict=True):
        yield Said(*said, tree)


def _trees(document: Any) -> Iterator[dict[str, Any]]:
    for resources, scopes, items in _PLACES:
        for of_resource in document.get(resources, ()):
            for of_scope in of_resource[scopes]:
                for item in of_scope.get(items, ()):
                    yield {
                        "record": item,
                        "scope": of_scope.get("scope", {}),
                        "resource": of_resource.get("resource", {}),
                        "schemas": (of_scope.get("schemaUrl", ""), of_resource.get("schemaUrl", "")),
                    }


def by_key(found: Iterable[Said]) -> dict[str, Said]:
    """The records by what tells them apart, without marks of running stages; repeats have to be equal."""
    made: dict[str, Said] = {}
    for said in found:
        if not (isinstance(said.record, Span) and names.MARK in said.record.attributes):
            assert made.setdefault(said.key, said) == said
    return made


def on_disk(job: JobLayout) -> dict[str, Said]:
    """What the journal says."""
    return by_key(said for line in lines(job) for said in records(json.loads(line)))


def lines(job: JobLayout) -> Iterator[bytes]:
    """The lines of a job's journal."""
    for source in sources(job):
        for name, _ in source.files():
            with open(os.path.join(source.folder, name), "rb") as file:
                yield from file


def sent(collector: Collector, job: JobLayout) -> list[Said]:
    """What the Collector wrote of this job, repeats too."""
    job_id = json.loads(job.job_json.read_bytes())["job_id"]
    found = (said for each in collector.written() for said in records(each))
    return [said for said in found if said.resource.attributes.get(names.JOB_ID) == job_id]


def at_collector(collector: Collector, job: JobLayout) -> dict[str, Said]:
    """The same, each once."""
    return by_key(sent(collector, job))


def at_jaeger(jaeger: Jaeger, trace_id: str) -> dict[str, Said]:
    """What Jaeger answers of a trace."""
    status, answer = ask(f"{jaeger.query}/api/v3/traces/{trace_id}")
    return by_key(records(json.loads(answer)["result"])) if status == 200 else {}


def kept_by_jaeger(journal: dict[str, Said]) -> dict[str, Any]:
    """What Jaeger has to answer, as docs/opentelemetry.md has it: compare it with `in_no_order` of what it answers."""
    spans = {key: said for key, said in journal.items() if isinstance(said.record, Span)}
    return {key: _kept(said.tree, spans) for key, said in spans.items()}


def _kept(tree: dict[str, Any], spans: dict[str, Said]) -> dict[str, Any]:
    record = dict(tree["record"])
    warnings = 0
    if int(record["endTimeUnixNano"]) <= int(record["startTimeUnixNano"]):
        record["endTimeUnixNano"] = str(int(record["startTimeUnixNano"]) + 1)
        warnings += 1
    if record.get("parentSpanId", "") not in {"", *spans}:
        warnings += 1
    return {**in_no_order({**tree, "record": record, "schemas": ("", "")}), "warnings": warnings}


def in_no_order(tree: dict[str, Any]) -> dict[str, Any]:
    """A span's tree with attributes and events sorted, and the warnings that Jaeger put into it counted."""
    record = dict(tree["record"])
    listed = [each for each in record.get("attributes", ()) if each["key"] != _WARNINGS]
    warnings = [each["value"]["arrayValue"]["values"] for each in record.get("attributes", ()) if each not in listed]
    record["attributes"] = listed
    return {
        "record": {
            **_sorted(record),
            "events": sorted(map(_sorted, record.get("events", ())), key=_moment),
            "links": list(map(_sorted, record.get("links", ()))),
        },
        "scope": _sorted(tree["scope"]),
        "resource": _sorted(tree["resource"]),
        "schemas": tree["schemas"],
        "warnings": sum(map(len, warnings)),
    }


def _sorted(of: dict[str, Any]) -> dict[str, Any]:
    """With its keys and its attributes in the order of their names."""
    attributes = sorted(of.get("attributes", ()), key=lambda each: each["key"])
    return {**{key: of[key] for key in sorted(of)}, "attributes": attributes}


def _moment(event: dict[str, Any]) -> tuple[int, str, list[str]]:
    return int(event["timeUnixNano"]), event["name"], [each["key"] for each in event["attributes"]]
