"""What is counted about the console."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUESTS = Counter("tiermesh_console_requests_total", "Requests by page and status.", ["page", "status"])
REQUEST_SECONDS = Histogram(
    "tiermesh_console_request_seconds",
    "Time from the end of a request's head to its page, by page.",
    ["page"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SIGN_INS = Counter(
    "tiermesh_console_sign_ins_total", "Attempts to sign in by result: signed_in, refused or rate_limited.", ["result"]
)
SIGN_UPS = Counter(
    "tiermesh_console_sign_ups_total",
    "Attempts to open an account by result: opened, refused or rate_limited.",
    ["result"],
)
FORMS_REFUSED = Counter(
    "tiermesh_console_forms_refused_total",
    "Forms that another site may have sent, by what was wrong: host, origin or token.",
    ["reason"],
)
OPERATOR_ACTIONS = Counter(
    "tiermesh_console_operator_actions_total",
    "Actions of operators by kind and outcome: done, refused or unknown.",
    ["action", "outcome"],
)
