"""Channels connect when first used, so these tests touch no network."""

from __future__ import annotations

import pytest

from services.common.etcd.endpoints import Endpoints
from services.common.settings import TlsSettings

NO_TLS = TlsSettings()
TLS = TlsSettings(ca_file="ca.crt", cert_file="tls.crt", key_file="tls.key")


async def test_a_failure_moves_on_once_however_many_calls_saw_it() -> None:
    endpoints = Endpoints(["a:1", "b:1", "c:1"], NO_TLS, random=lambda: 0.0)
    failed = endpoints.current
    endpoints.fail_over(failed)
    second = endpoints.current
    endpoints.fail_over(failed)
    assert endpoints.current is second
    assert second is not failed
    endpoints.fail_over(second)
    endpoints.fail_over(endpoints.current)
    assert endpoints.current is failed
    await endpoints.close()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379/"])
async def test_the_scheme_is_optional(endpoint: str) -> None:
    await Endpoints([endpoint], NO_TLS, random=lambda: 0.0).close()


@pytest.mark.parametrize("endpoint", ["", "http://", "://127.0.0.1:2379", "ftp://127.0.0.1:2379"])
async def test_what_is_not_an_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="an etcd endpoint is"):
        Endpoints([endpoint], NO_TLS, random=lambda: 0.0)


async def test_a_scheme_that_contradicts_the_credentials_is_refused() -> None:
    with pytest.raises(ValueError, match="https needs them"):
        Endpoints(["https://127.0.0.1:2379"], NO_TLS, random=lambda: 0.0)
    with pytest.raises(ValueError, match="https needs them"):
        Endpoints(["http://127.0.0.1:2379"], TLS, random=lambda: 0.0)


async def test_no_endpoint_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Endpoints([], NO_TLS, random=lambda: 0.0)
