"""What libraries or the program made, spans and the names of who speaks, without the secrets in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_stageio.model import Scope, Span
    from otel_stageio.record.secrets.redaction import Redactor


def without_secrets(span: Span, redactor: Redactor) -> Span:
    """The span with its texts and attributes as `redactor` leaves them, those of its events and links too."""
    text, attributes = redactor.text, redactor.attributes
    return span._replace(
        name=text(span.name),
        status_message=text(span.status_message),
        attributes=attributes(span.attributes),
        events=tuple(
            each._replace(name=text(each.name), attributes=attributes(each.attributes)) for each in span.events
        ),
        links=tuple(each._replace(attributes=attributes(each.attributes)) for each in span.links),
    )


def scope_without_secrets(scope: Scope, redactor: Redactor) -> Scope:
    """The library that speaks, its name, version and attributes without secrets."""
    text = redactor.text
    return scope._replace(
        name=text(scope.name),
        version=text(scope.version),
        attributes=redactor.attributes(scope.attributes),
        schema_url=text(scope.schema_url),
    )
