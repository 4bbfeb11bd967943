"""Changes of sound files without atheris: seeded, the same on every machine.

What libFuzzer's own mutations do, but blind to what they lead to.
"""

from collections.abc import Iterator, Sequence

import numpy as np

_BYTES = (0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x0A, 0x2D, 0x39)
_NUMBERS = (0, 1, -1, 0x7FFFFFFF, -0x80000000, 0x10000, 1 << 40, (1 << 63) - 1)


def mutants(corpus: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """The sound files, then ``count`` files that are each changed in up to eight places."""
    yield from corpus
    generator = np.random.default_rng(seed)
    for _ in range(count):
        content = bytearray(corpus[int(generator.integers(len(corpus)))])
        for _ in range(1 << generator.integers(4)):
            _change(content, corpus, generator)
        yield bytes(content)


def _change(content: bytearray, corpus: Sequence[bytes], generator: np.random.Generator) -> None:
    """Change one place."""
    size = len(content)
    at = int(generator.integers(size + 1))
    end = min(size, at + int(generator.integers(1, 64)))
    match int(generator.integers(8)):
        case 0 if at < size:
            content[at] ^= 1 << int(generator.integers(8))
        case 1 if at < size:
            content[at] = _BYTES[generator.integers(len(_BYTES))]
        case 2:
            width = int(generator.choice([2, 4, 8]))
            number = _NUMBERS[generator.integers(len(_NUMBERS))] % (1 << 8 * width)
            raw = number.to_bytes(width, "little")
            content[at : at + width] = raw if generator.integers(2) else raw[::-1]
        case 3:
            del content[at:end]
        case 4:
            content[at:at] = content[at:end]
        case 5:
            content[at:at] = generator.bytes(int(generator.integers(1, 16)))
        case 6:
            other = corpus[int(generator.integers(len(corpus)))]
            start = int(generator.integers(len(other) + 1))
            content[at:end] = other[start : start + int(generator.integers(1, 64))]
        case _:
            del content[at:]
