"""What browsers may do with the pages: nothing from anywhere else, no script or style that is not a file of ours."""

from __future__ import annotations

from collections.abc import Mapping

# Of Trusted Types no policy may be made, so that no text ever becomes markup or script in the browser.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# `same-origin` and not `no-referrer`: with that, browsers would send `Origin: null` with forms.
_EVERYWHERE = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "Server": "tiermesh",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_TLS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}
NOT_STORED = "no-store"


def security_headers(*, secure: bool) -> Mapping[str, str]:
    """Returns the headers of every response; with `secure`, browsers reach the console by TLS."""
    return _EVERYWHERE | _TLS_ONLY if secure else _EVERYWHERE
