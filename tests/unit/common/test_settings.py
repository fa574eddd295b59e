from __future__ import annotations

from typing import Any

import pytest

from services.common.settings import ServiceSettings, SettingsError, TlsSettings, load_settings, split_list


class ExampleSettings(ServiceSettings, frozen=True, kw_only=True):
    requests_per_minute: int = 60
    verbose: bool = False


def load(**environ: str) -> ExampleSettings:
    return load_settings(ExampleSettings, "example", environ)


def test_defaults_need_no_environment() -> None:
    assert load() == ExampleSettings()
    assert not load().tls.enabled


def test_values_have_the_types_of_their_fields() -> None:
    settings = load(
        TIERMESH_EXAMPLE_REQUESTS_PER_MINUTE="5",
        TIERMESH_EXAMPLE_VERBOSE="true",
        TIERMESH_EXAMPLE_DRAIN_SECONDS="0.5",
        TIERMESH_EXAMPLE_LISTEN="[::1]:50051",
    )
    assert (settings.requests_per_minute, settings.verbose) == (5, True)
    assert (settings.drain_seconds, settings.listen) == (0.5, "[::1]:50051")


def test_settings_of_other_services_are_not_looked_at() -> None:
    assert load(TIERMESH_OTHER_WHATEVER="1", TIERMESH_EXAMPLES="1", HOME="/") == ExampleSettings()


def test_a_misspelt_setting_is_refused_and_the_right_names_are_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        load(TIERMESH_EXAMPLE_LISTENS="x", TIERMESH_EXAMPLE_ADRESS="y")
    message = str(caught.value)
    assert message.startswith("no such setting: TIERMESH_EXAMPLE_ADRESS, TIERMESH_EXAMPLE_LISTENS. Known: ")
    assert "TIERMESH_EXAMPLE_LISTEN," in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERMESH_EXAMPLE_REQUESTS_PER_MINUTE", "many"),
        ("TIERMESH_EXAMPLE_VERBOSE", "perhaps"),
        ("TIERMESH_EXAMPLE_DRAIN_SECONDS", "30s"),
        ("TIERMESH_EXAMPLE_LISTEN", "localhost"),
        ("TIERMESH_EXAMPLE_ADMIN_LISTEN", "localhost:http"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"a setting is wrong: .* at `{name}`"):
        load(**{name: value})


def test_mutual_tls_needs_all_three_files() -> None:
    files: dict[str, Any] = {"ca_file": "ca.crt", "cert_file": "tls.crt", "key_file": "tls.key"}
    assert TlsSettings(**files).enabled
    for missing in files:
        with pytest.raises(SettingsError, match="set all of TLS_CA_FILE, TLS_CERT_FILE and TLS_KEY_FILE, or none"):
            TlsSettings(**{**files, missing: ""})


def test_the_tls_files_come_from_the_service_settings() -> None:
    settings = load(
        TIERMESH_EXAMPLE_TLS_CA_FILE="a", TIERMESH_EXAMPLE_TLS_CERT_FILE="b", TIERMESH_EXAMPLE_TLS_KEY_FILE="c"
    )
    assert settings.tls == TlsSettings(ca_file="a", cert_file="b", key_file="c")


@pytest.mark.parametrize(
    ("value", "parts"), [("", []), (" , ,", []), ("one:1", ["one:1"]), ("one:1, two:2 ,", ["one:1", "two:2"])]
)
def test_lists_are_split_at_commas(value: str, parts: list[str]) -> None:
    assert split_list(value) == parts
