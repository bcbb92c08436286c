"""E-mail: notices (`SmtpNotifier`) and messages themselves (`SmtpCarrier`) through an SMTP relay.

`bode_adapters.email.mock` has a mail server that behaves by the local part of the recipient.
"""

from bode_adapters.email.adapter import SmtpCarrier, SmtpNotifier

__all__ = ["SmtpCarrier", "SmtpNotifier"]
