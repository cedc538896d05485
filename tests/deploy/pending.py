"""Metrics that rules and dashboards use already, and that the server does not have yet. Queries with one of these are
expected to have no data, strictly: take a name out when the server has it."""

PENDING: set[str] = set()
