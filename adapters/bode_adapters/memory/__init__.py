"""Adapters without an outside: a box, a notifier and a print service in memory.

They keep the whole contract, so that a test or a simulation of months runs against real adapters and in no time. What
they answer can be scripted per item; what really happened is counted, whatever was answered.
"""

from bode_adapters.memory.box import MemoryBox
from bode_adapters.memory.notifier import MemoryNotifier
from bode_adapters.memory.print_service import MemoryPrintService
from bode_adapters.memory.script import Rule, Script, Staged

__all__ = ["MemoryBox", "MemoryNotifier", "MemoryPrintService", "Rule", "Script", "Staged"]
