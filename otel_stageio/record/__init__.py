"""What a stage touches: StageIO, its logger, tracking, and how a stage ends."""
