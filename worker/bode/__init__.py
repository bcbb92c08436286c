"""Bode: the delivery worker for official messages of Dutch public bodies."""
