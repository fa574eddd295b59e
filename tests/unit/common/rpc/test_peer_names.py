from __future__ import annotations

import pytest

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.common.rpc.peer_names import caller_names, peer_name
from services.common.settings import GrpcServiceSettings, SettingsError, load_settings
from services.router.settings import RouterSettings
from services.runner.settings import RunnerSettings


def test_a_part_is_named_alike_everywhere_or_in_a_domain() -> None:
    assert peer_name("edge") == "tiermesh-edge"
    assert peer_name("edge", "mesh.example.org") == "tiermesh-edge.mesh.example.org"


def test_callers_are_parts_or_whole_names() -> None:
    entries = ["edge", "Tools.Example.org", "tiermesh-edge-2"]
    assert caller_names(entries) == ("tiermesh-edge", "tools.example.org", "tiermesh-edge-2")
    assert caller_names(["edge", "a.b"], "x") == ("tiermesh-edge.x", "a.b")


def test_a_typing_error_is_no_caller() -> None:
    with pytest.raises(
        ValueError, match=r"'egde' is neither one of edge, console, operator-console, auth, .* nor a whole DNS name"
    ):
        caller_names(["egde"])


@pytest.mark.parametrize(
    ("kind", "service", "names"),
    [
        (AuthSettings, "auth", ("tiermesh-edge", "tiermesh-console", "tiermesh-operator-console", "tiermesh-operator")),
        (
            BillingSettings,
            "billing",
            (
                *("tiermesh-edge", "tiermesh-console", "tiermesh-operator-console", "tiermesh-payments"),
                "tiermesh-operator",
            ),
        ),
        (
            RouterSettings,
            "router",
            ("tiermesh-edge", "tiermesh-console", "tiermesh-operator-console", "tiermesh-operator"),
        ),
        (RunnerSettings, "runner", ("tiermesh-edge", "tiermesh-router")),
    ],
)
def test_each_service_serves_those_who_need_it(
    kind: type[GrpcServiceSettings], service: str, names: tuple[str, ...]
) -> None:
    assert load_settings(kind, service, {}).tls.client_names == names
    environ = {f"TIERMESH_{service.upper()}_TLS_CLIENT_NAMES": " edge , x.y"}
    assert load_settings(kind, service, environ).tls.client_names == ("tiermesh-edge", "x.y")
    in_domain = load_settings(kind, service, {f"TIERMESH_{service.upper()}_TLS_DOMAIN": "x.org"})
    assert in_domain.tls.client_names == tuple(f"{name}.x.org" for name in names)
    assert in_domain.tls.name("auth") == "tiermesh-auth.x.org"


@pytest.mark.parametrize(("value", "message"), [("", "TLS_CLIENT_NAMES is empty"), ("edge,rooter", "'rooter'")])
def test_wrong_callers_are_explained(value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _ = load_settings(AuthSettings, "auth", {"TIERMESH_AUTH_TLS_CLIENT_NAMES": value}).tls
