"""Delivery: from the journal's files to any OTLP backend, live or later, by the official exporters."""
