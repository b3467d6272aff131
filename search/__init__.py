"""What to run, and running it. A job imports what it needs from here."""

from search import flags, scores
from search.engine.study import Study
from search.flags import flag
from search.inputs.pictures import Pictures, Threat
from search.job import Job, main
from search.lab import Lab

__all__ = ["Job", "Lab", "Pictures", "Study", "Threat", "flag", "flags", "main", "scores"]
