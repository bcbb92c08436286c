"""Small charts, drawn here as SVG: no script, no style of their own; the numbers stand in a table beside each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _FOOT = 480, 96, 14


def bars(values: Sequence[tuple[str, int, int]], *, title: str) -> Markup:
    """Draw a bar per value: its name, the whole, and the part of it that went wrong."""
    most = max((whole for _, whole, _ in values), default=0) or 1
    step = _WIDTH / max(len(values), 1)
    drawn: list[Markup] = []
    for index, (name, whole, wrong) in enumerate(values):
        x, width = index * step + 1, max(step - 2, 1)
        for amount, kind in ((whole, "bar"), (min(wrong, whole) if whole else wrong, "bar-wrong")):
            height = round((_HEIGHT - _FOOT) * min(amount / most, 1), 1)
            if height:
                drawn.append(
                    Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}"/>').format(
                        kind, x, _HEIGHT - _FOOT - height, width, height
                    )
                )
        if index % 6 == 0:
            drawn.append(
                Markup('<text class="bar-name" x="{:.1f}" y="{}">{}</text>').format(x, _HEIGHT - 2, escape(name))
            )
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}">'
        '<line class="bar-foot" x1="0" x2="{}" y1="{}" y2="{}"/>{}</svg>'
    ).format(title, _WIDTH, _HEIGHT, _WIDTH, _HEIGHT - _FOOT, _HEIGHT - _FOOT, Markup().join(drawn))
