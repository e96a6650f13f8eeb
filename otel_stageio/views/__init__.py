"""Folds over the journal: what manifest.json, the stage's span, the job manifest and stage.log show."""
