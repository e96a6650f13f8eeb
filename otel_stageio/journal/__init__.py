"""The truth on disk: lines of OTLP/JSON in append-only files, written whole and read tolerantly."""
