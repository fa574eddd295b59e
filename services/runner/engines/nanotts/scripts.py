"""What of a text Pico can read: it leaves out, without a word, every letter beyond those of its five languages."""

from __future__ import annotations

import re
import unicodedata

from services.common.errors import Code, MeshError

# Latin-1: all of Pico's voices have sounds for its letters.
_LAST_READ = "\u00ff"
_LATIN = re.compile(r"LATIN (SMALL|CAPITAL) (?:LETTER|LIGATURE) ([A-Z]{1,2})(?: WITH .*)?")
# Letters whose names do not tell what they sound like.
_SOUNDS = {"\u0131": "i", "\u0237": "j", "\u014b": "ng", "\u014a": "Ng", "\u0259": "e", "\u018f": "E", "\u1e9e": "ss"}


def latin_text(text: str) -> str:
    """Returns the text in letters and digits that Pico reads: letters without its marks become the plain letters.

    Raises MeshError INVALID_REQUEST, which names the scripts, if other letters or digits are left. `text` is in the
    normal form NFKC.
    """
    unread: set[str] = set()
    plain = "".join(_read(character, unread) for character in text)
    if unread:
        raise _unread_scripts(unread)
    return plain


def _read(character: str, unread: set[str]) -> str:
    if character <= _LAST_READ:
        return character
    category = unicodedata.category(character)
    # Modifier letters, such as the okina of Hawaiian, are signs beside letters.
    if category[0] not in "LN" or category == "Lm":
        return character
    if category == "Nd":
        return str(unicodedata.decimal(character))
    name = unicodedata.name(character, "")
    if sound := _SOUNDS.get(character):
        return sound
    if latin := _LATIN.fullmatch(name):
        return latin[2].lower() if latin[1] == "SMALL" else latin[2].title()
    unread.add("CJK" if name.startswith("CJK") else name.partition(" ")[0].title() or "unknown")
    return ""


def _unread_scripts(scripts: set[str]) -> MeshError:
    found = ", ".join("rare Latin" if script == "Latin" else script for script in sorted(scripts))
    message = (
        f"'input' has letters that this voice cannot read ({found}). It reads the Latin script and digits. Write the "
        "text in Latin letters, or remove the others."
    )
    return MeshError(Code.INVALID_REQUEST, message, param="input")
