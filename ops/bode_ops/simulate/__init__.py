"""A month of mishaps in minutes: the real rules, the real engine and the real store in a world that is made up.

    bode simulate --messages 2000 --days 30 --seed 7
    bode simulate --messages 500 --days 10 --seed 1..20 --faults timeouts,crashes

What is real: intake, the lanes, the sweeper, what comes in, the rules, the evidence, and SQLite on a file in memory.
What is made up: time (`loop` jumps from one thing to the next, and nothing waits), the other sides (`sides`: the
in-memory adapters, with mishaps), workers that die at failpoints, people who look in (`world`). `plan` draws all of it
from the seed. `truth` is what really happened; `oracle` holds the promises against it, knowing nothing of the rules.

A run that breaks a promise is made smaller (`story`): messages, incidents and mishaps are left out while it still
breaks, and what remains is printed as a story of one message. The same options give the same run.

Not real, so not proven here: the broker, PostgreSQL's locks, sockets, letters as they are set, and signals.
"""

from bode_ops.simulate.command import simulate

__all__ = ["simulate"]
