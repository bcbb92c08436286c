"""Parts of a configuration that many tests have the same: a box that is not there, notices, a print folder, bodies.

Texts for `str.format`, with the folder as `{folder}`: what a test has of its own stands before or behind them.
"""

from __future__ import annotations

NOWHERE = "http://127.0.0.1:9"


def mijnoverheid(*, base_url: str = NOWHERE, api_key: str = "sleutel") -> str:
    """Give the channel, over REST."""
    return f"""[channels.mijnoverheid]
adapter = "mijnoverheid"
kind = "box"
label = "Berichtenbox van MijnOverheid"
url = "https://mijn.overheid.nl"
ceiling = "hoog"
primary = true
[channels.mijnoverheid.settings]
base_url = "{base_url}"
api_key = "{api_key}"
leverancier_oin = "00000001999000090000"
"""


def mijndomein(base_url: str) -> str:
    """Give a portal of the body itself."""
    return f"""[channels.mijndomein]
adapter = "mijndomein"
kind = "box"
label = "Mijn Gemeente"
url = "https://mijn.gemeente.example"
ceiling = "substantieel"
[channels.mijndomein.settings]
base_url = "{base_url}"
"""


def notices(port: int | str = 9) -> str:
    """Give notices by a mail server on this machine."""
    return f"""[notices]
adapter = "smtp-notifier"
[notices.settings]
host = "127.0.0.1"
port = {port}
tls = "none"
"""


PRINT_FOLDER = """[print]
adapter = "print-folder"
[print.settings]
folder = "{folder}/print"
"""
MAASVELD = """[organisations.00000001999000010000]
name = "Gemeente Maasveld"
email = "noreply@maasveld.example.nl"
contact = "telefoon 14 0999"
address = ["Postbus 100", "1200 AA  MAASVELD"]
box_types = {{ mijnoverheid = "MVBESLUI" }}
"""
ZANDWIJK = """[organisations.00000001999000020000]
name = "Gemeente Zandwijk"
email = "noreply@zandwijk.example.nl"
contact = "telefoon 14 0998"
address = ["Postbus 200", "1300 AA  ZANDWIJK"]
box_types = {{ mijnoverheid = "ZWBESLUI" }}
"""
