"""A check of the audit, and how checks are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.billing.store.audit.report import MAX_NAMED, whole_numbers


class Check(NamedTuple):
    """A query whose rows are violations, and the sentence for each."""

    query: str
    sentence: Callable[[Any], str]


def run_checks(
    connection: sa.Connection,
    views: str,
    checks: Sequence[Check],
    words: Mapping[str, str],
    parameters: Mapping[str, object],
) -> list[str]:
    """Returns what is wrong; `words` fill the braces of the views and queries."""
    violations: list[str] = []
    for check in checks:
        query = sa.text(f"{views} {check.query} LIMIT {MAX_NAMED}".format_map(words).replace("':'", r"'\:'"))
        violations.extend(check.sentence(whole_numbers(row)) for row in connection.execute(query, parameters))
    return violations
