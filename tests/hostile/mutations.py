"""Damage: random changes of a file's bytes, or of the words of a text."""

import re

import numpy as np

#: What stands in a text's place of a word: what parsers, terminals and pages stumble over.
_WORDS = (
    "NaN", "-1", "0", "1e999", "null", "true", '"x"', "[]", "{}", "9" * 6000, "2147483648", '"../../../etc/passwd"',
    '"\\u0000"', '"<script>alert(1)</script>"', "\x1b[2J", "!!python/object/apply:os.system [false]", "&a [*a]",
    "[" * 3000, "\x00", "é€", "2001-02-31", "*", '"' + "A" * 100_000 + '"', "{wildcard}", "$(false)",
)  # fmt: skip
_WORD = re.compile(r'"[^"\n]*"|[-\w.]+')
_NUMBERS = (0, 1, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 2**40, 65536)


def damaged(content: bytes, rng: np.random.Generator, text: bool = False) -> bytes:
    """The content with one to four changes. text: whether words are changed more often than bytes."""
    if text and rng.random() < 0.75:
        return _with_other_words(content.decode(), rng).encode("utf-8", "replace")
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if data:
            _change(data, rng)
    return bytes(data)


def _change(data: bytearray, rng: np.random.Generator) -> None:
    """One change; starts and ends of files, where headers and indices lie, are hit more often."""
    places = (rng.integers(0, min(len(data), 1024)), len(data) - 1 - rng.integers(0, min(len(data), 600)))
    at = int(rng.choice([*places, rng.integers(0, len(data))]))
    length = int(rng.integers(1, 65))
    match int(rng.integers(0, 9)):
        case 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        case 1:
            data[at : at + length] = rng.bytes(min(length, len(data) - at))
        case 2:
            data[at : at + length] = bytes(min(length, len(data) - at))
        case 3:
            data[at : at + 4] = bytes([255] * min(4, len(data) - at))
        case 4:
            del data[at:]
        case 5:
            del data[at : at + length]
        case 6:
            data[at:at] = data[at : at + length]
        case _:
            size = int(rng.choice([2, 4, 8]))
            order = "little" if rng.random() < 0.7 else "big"
            number = _NUMBERS[rng.integers(len(_NUMBERS))] % 2 ** (8 * size)
            data[at : at + size] = number.to_bytes(size, order)[: len(data) - at]


def _with_other_words(text: str, rng: np.random.Generator) -> str:
    for _ in range(rng.integers(1, 4)):
        words = [found.span() for found in _WORD.finditer(text)] or [(0, 0)]
        start, end = words[rng.integers(len(words))]
        replacement = _WORDS[rng.integers(len(_WORDS))] if rng.random() < 0.75 else ""
        text = text[:start] + replacement + text[end:]
    return text
