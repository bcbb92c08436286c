"""What happened to a message and how it stands, in plain Dutch: for the command line, the pages, and the telephone."""

from bode_ops.story.summary import Summary, summary
from bode_ops.story.text import render_text
from bode_ops.story.timeline import Line, timeline
from bode_ops.story.words import OUTCOMES, STATES, Kind, article, labels, length, when

__all__ = [
    "OUTCOMES",
    "STATES",
    "Kind",
    "Line",
    "Summary",
    "article",
    "labels",
    "length",
    "render_text",
    "summary",
    "timeline",
    "when",
]
