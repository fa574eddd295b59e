"""An authenticator that Chromium itself plays, by the WebAuthn domain of its DevTools protocol."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page


class VirtualAuthenticator:
    """Stands for the fingerprint reader of a device: whoever asks, it verifies the person at once."""

    def __init__(self, page: Page, *, verifies: bool = True) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": verifies,
            "automaticPresenceSimulation": True,
        }
        self._id = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    @property
    def credentials(self) -> list[dict[str, Any]]:
        """What it keeps."""
        found: list[dict[str, Any]] = self._session.send("WebAuthn.getCredentials", {"authenticatorId": self._id})[
            "credentials"
        ]
        return found

    def take(self, credentials: list[dict[str, Any]]) -> None:
        """Keeps these too, as one does that is copied."""
        for credential in credentials:
            self._session.send("WebAuthn.addCredential", {"authenticatorId": self._id, "credential": credential})

    def verify(self, *, verifies: bool) -> None:
        """Says whether it recognizes the person from now on."""
        self._session.send("WebAuthn.setUserVerified", {"authenticatorId": self._id, "isUserVerified": verifies})

    def remove(self) -> None:
        """Takes it away, with all that it keeps."""
        self._session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self._id})
        self._session.detach()
