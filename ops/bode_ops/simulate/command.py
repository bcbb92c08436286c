"""The command `bode simulate`."""

from __future__ import annotations

import re
from typing import Annotated

from cyclopts import Parameter

from bode_ops.commands.base import UsageError, console
from bode_ops.simulate.plan import Fault, Options
from bode_ops.simulate.story import Run, broken, run, shrink, told
from bode_ops.simulate.world import simulated_policy

_SEEDS = re.compile(r"(\d+)(?:\.\.(\d+))?")


def simulate(
    *,
    messages: Annotated[int, Parameter(help="How many messages come in.")] = 500,
    days: Annotated[int, Parameter(help="Over how many days.")] = 10,
    seed: Annotated[str, Parameter(help="A number, or several as 1..20.")] = "1",
    trouble: Annotated[float, Parameter(help="How many times as often a thing goes wrong with a message.")] = 1.0,
    faults: Annotated[str, Parameter(help=f"all, none, or some of {', '.join(Fault)}, with commas.")] = "all",
) -> None:
    """Run the real rules, engine and store through days of mishaps on a virtual clock, and check the promises.

    The same options give the same run. Exits with 1 when a promise was broken, after the story of how.
    """
    if messages < 1 or days < 1:
        raise UsageError("--messages and --days are 1 or more")
    chosen = _faults(faults)
    policy, failed = simulated_policy(), False
    for number in _seeds(seed):
        made = run(Options(messages, days, number, chosen, trouble), policy)
        console.print(_line(made), markup=False)
        if made.violations:
            failed = True
            for line in broken(made):
                console.print(line, markup=False)
            for line in told(shrink(made, policy)):
                console.print(line, markup=False)
    if failed:
        raise SystemExit(1)


def _line(made: Run) -> str:
    kept = "every promise kept" if not made.violations else f"{len(made.violations)} promises broken"
    options = made.options
    return (
        f"seed {options.seed}: {made.accepted} messages in {options.days} days, "
        f"{len(made.mishaps)} mishaps, {made.seconds:.1f} s: {kept}"
    )


def _seeds(text: str) -> range:
    found = _SEEDS.fullmatch(text)
    if found is None:
        raise UsageError(f"--seed {text!r} is not a number, nor two as 1..20")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def _faults(text: str) -> frozenset[Fault]:
    if text in ("all", "none"):
        return frozenset(Fault) if text == "all" else frozenset()
    try:
        return frozenset(Fault(name.strip()) for name in text.split(","))
    except ValueError:
        raise UsageError(f"--faults {text!r}: all, none, or some of {', '.join(Fault)}") from None
