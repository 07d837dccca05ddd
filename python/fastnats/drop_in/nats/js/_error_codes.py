"""Codes that say exactly what is wrong, as errors of the API have them in ``err_code`` (ADR-7)."""

from __future__ import annotations

JETSTREAM_UNAVAILABLE = 10008
"""JetStream is there, but has no leader at the moment."""

CONSUMER_NAME_EXISTS = 10013
MESSAGE_NOT_FOUND = 10037
WRONG_LAST_SEQUENCE = 10071
CONSUMER_EXISTS = 10148
WRONG_LAST_SEQUENCE_CONSTANT = 10164
CONSUMER_INVALID_RESET = 10204
