"""TensorBoard's events, written at once by the thread that trains.

TensorBoard's own writer has a thread of its own, whose errors (a full disk, a folder that vanishes)
are not those of the run but half a screen on stderr, and it loads TensorFlow where that is
installed, for its files alone.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class Events:
    """A new file of events in a folder, which is made; later ones take the place of earlier steps.

    Args:
        folder: where TensorBoard looks.
        purge_step: events of earlier files from this step on are of no run.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._records = RecordWriter((folder / name).open("wb"))
        self._write(Event(wall_time=now, step=purge_step, file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=now, step=purge_step, session_log=start))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step, by tag."""
        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def picture(self, step: int, tag: str, png: bytes) -> None:
        """Write a picture of a step, a PNG."""
        # Its first chunk, of which every PNG has one at this place, begins with its size.
        width, height = struct.unpack_from(">II", png, 16)
        drawn = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=tag, image=drawn)])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()
