"""The engine: lanes that claim, call and record; the doorbell; the sweeper; what comes in from outside."""
