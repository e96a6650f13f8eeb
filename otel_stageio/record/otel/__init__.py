"""OpenTelemetry's API over the journal: the live span, tracer and logger, context in and out, and the host's SDK."""
