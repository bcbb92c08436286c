"""The other routes by which bounces come in: a maildir, an IMAP mailbox, LMTP, and a relay's webhook.

Each stores what it finds under a unique key (`Inbound.store`) before it lets go of it; deciding is not done here.
"""
