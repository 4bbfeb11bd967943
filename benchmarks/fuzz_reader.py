"""One reader under atheris, in a process of its own; ``benchmarks.fuzzing`` starts it.

``python -m benchmarks.fuzz_reader TARGET FOLDER [libFuzzer's options]``: the corpus and what is
found go into ``FOLDER``. libFuzzer ends the process at the first input that is a fault, and keeps
that input.
"""

import atexit
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import atheris

ROOMS = ["inputs", "weight_conversion", "parity.traces", "parity.training.overfit",
         "reports.tables.runs", "reports.text.runs_text"]  # fmt: skip
"""What is instrumented, so that new ways through it are noticed: the readers."""
MOST_MEMORY = 1 << 30
"""Bytes that one input may add to the process."""


def main() -> None:
    """Fuzz until an option of libFuzzer or a fault ends it."""
    name, place, *options = sys.argv[1:]
    with atheris.instrument_imports(include=ROOMS):
        from benchmarks.fuzz_targets import BY_NAME, feed
        from weight_conversion.containers import hdf5

    # Files that the program tries out in another process first are read without: whoever started
    # this one tries what it finds once more, with it.
    target = replace(BY_NAME[name], guard=None)
    setattr(hdf5, "probe", lambda *_: None)  # noqa: B010 - not a name that the module exports
    corpus = Path(place, "corpus")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(target.corpus()):
        (corpus / f"sound-{number}").write_bytes(content)
    base = _peak()
    memory = Path("/dev/shm")  # noqa: S108 - where there is one, the disk is left in peace
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as own:
        last = Path(place, "killed-last")  # in case not even libFuzzer can keep it

        def one(content: bytes) -> None:
            last.write_bytes(content)
            feed(target, Path(own), content)
            if _peak() - base > MOST_MEMORY:
                raise MemoryError(f"{(_peak() - base) >> 20} MiB for {len(content)} bytes")

        atexit.register(last.unlink, missing_ok=True)
        atheris.Setup([sys.argv[0], str(corpus), *options], one)
        atheris.Fuzz()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
