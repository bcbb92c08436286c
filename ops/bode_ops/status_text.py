"""What `bode status` prints: the summary and the timeline of a message, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bode.domain.parts import Delivery
from bode.domain.policy import Policy
from bode.store.events import StoredEvent
from bode.store.messages import Known
from bode_ops import timeline


def render(
    known: Known,
    delivery: Delivery,
    later: Sequence[Known],
    events: Sequence[StoredEvent],
    *,
    policy: Policy,
    now: datetime,
) -> str:
    """Write a message's story."""
    lines = [f"{known.reference}  {timeline.STATES[delivery.state]}: {timeline.OUTCOMES[delivery.outcome]}", ""]
    del later, now
    lines += [
        f"{timeline.when(line.at)}  {line.title}\n    {line.detail}"
        for line in timeline.timeline(events, channels=timeline.labels(policy))
    ]
    return "\n".join(lines)
