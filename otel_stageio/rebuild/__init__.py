"""Job folders made anew from OTLP that went elsewhere: the same fold, fed by a Collector's files or by an SDK."""
