"""These tests compare with OpenTelemetry's own words, some of them generated: nothing of them is hidden as a secret."""

from __future__ import annotations

import pytest

from otel_stageio.record.secrets.redaction import Redactor


@pytest.fixture(autouse=True)
def nothing_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every text and value pass."""
    monkeypatch.setattr(Redactor, "text", lambda _, text: text)
    monkeypatch.setattr(Redactor, "value", lambda _, __, value: value)
    monkeypatch.setattr(Redactor, "attributes", lambda _, attributes: attributes)
