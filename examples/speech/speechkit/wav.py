"""Reading WAV files of any common encoding in blocks, so that an hour of audio needs no more memory than a second.

The standard library's ``wave`` refuses float samples (and, before Python 3.12, the extensible header), which is what
editors and ffmpeg write; so the header is read here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
ENCODINGS = {(PCM, 1): "u8", (PCM, 2): "s16", (PCM, 3): "s24", (PCM, 4): "s32", (FLOAT, 4): "f32", (FLOAT, 8): "f64"}
LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000
UNKNOWN_SIZE = 0xFFFFFFFF  # what a program writes that could not seek back to fill in the length
BLOCK_FRAMES = 16_384
CHUNK_HEADER = struct.Struct("<4sI")  # name, size of what follows
FORMAT = struct.Struct("<HHIIHH")  # code, channels, samples a second, bytes a second, bytes a frame, bits a sample
EXTENDED_FORMAT_BYTES, CODE_IN_EXTENDED = 26, 24  # an extensible header has the true code after the common part


class WavError(ValueError):
    """The file is not a WAV file that can be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WavInfo:
    """What a WAV header says, and how much of it is there.

    ``frames`` are those in the file; ``missing_frames`` those that the header promises and a cut file lacks.
    """

    sample_rate: int
    channels: int
    encoding: str
    frames: int
    missing_frames: int
    data_offset: int
    frame_bytes: int

    @property
    def duration_seconds(self) -> float:
        """Length of the audio that is in the file, in seconds."""
        return self.frames / self.sample_rate


def read_info(path: Path) -> WavInfo:
    """Read the header of the WAV file at ``path``. Raises WavError for any other content, OSError as open does."""
    with path.open("rb") as file:
        file_bytes = path.stat().st_size
        _check_signature(file.read(12), path)
        format_chunk = b""
        while len(header := file.read(CHUNK_HEADER.size)) == CHUNK_HEADER.size:
            name, size = CHUNK_HEADER.unpack(header)
            if name == b"data":
                return _info(path, format_chunk, file.tell(), size, file_bytes - file.tell())
            if name == b"fmt ":
                format_chunk = file.read(size + size % 2)
            else:
                file.seek(size + size % 2, 1)
    raise WavError(f"{path} has no audio in it: its WAV header is not followed by a data chunk. Is the file cut off?")


def read_blocks(path: Path, info: WavInfo, block_frames: int = BLOCK_FRAMES) -> Iterator[Samples]:
    """Yield the samples in order as arrays of shape (frames, channels); full scale is -1 to 1, float files may exceed.

    What is not a number in a float file is read as 0.
    """
    with path.open("rb") as file:
        file.seek(info.data_offset)
        left = info.frames
        while left > 0:
            data = _read_frames(file, min(block_frames, left), info.frame_bytes)
            if not data:
                raise WavError(f"{path} became shorter while it was read")
            left -= len(data) // info.frame_bytes
            yield decode(data, info.encoding).reshape(-1, info.channels)


def decode(data: bytes, encoding: str) -> Samples:
    """Turn little-endian samples into float32 with full scale -1 to 1; ``encoding`` is a value of ENCODINGS."""
    if encoding == "u8":
        return _scaled(np.frombuffer(data, np.uint8).astype(np.int16) - 128, 7)
    if encoding == "s24":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return _scaled(wide.view("<i4").ravel(), 31)
    if encoding == "s16":
        return _scaled(np.frombuffer(data, "<i2"), 15)
    if encoding == "s32":
        return _scaled(np.frombuffer(data, "<i4"), 31)
    floats = np.frombuffer(data, "<f4" if encoding == "f32" else "<f8")
    return np.nan_to_num(floats.astype(np.float32), nan=0.0, posinf=1.0, neginf=-1.0)


def _scaled(integers: NDArray[np.signedinteger], bits: int) -> Samples:
    scaled: Samples = (integers / 2.0**bits).astype(np.float32)
    return scaled


def _read_frames(file: BinaryIO, frames: int, frame_bytes: int) -> bytes:
    data = file.read(frames * frame_bytes)
    return data[: len(data) - len(data) % frame_bytes]


def _check_signature(start: bytes, path: Path) -> None:
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return
    if start[:4] in (b"RIFX", b"RF64", b"BW64") and start[8:12] == b"WAVE":
        kind = start[:4].decode()
        raise WavError(f"{path} is a WAV file of the kind {kind}, which is not read here. {_advice(path)}")
    found = "it is empty" if not start else f"it begins with {start[:4]!r}"
    raise WavError(f"{path} is not a WAV file: {found} instead of b'RIFF'. {_advice(path)}")


def _info(path: Path, format_chunk: bytes, data_offset: int, declared_bytes: int, available_bytes: int) -> WavInfo:
    if len(format_chunk) < FORMAT.size:
        raise WavError(f"{path} does not say what its samples are: the fmt chunk of its WAV header is missing or short")
    code, channels, sample_rate, _, frame_bytes, bits = FORMAT.unpack_from(format_chunk)
    if code == EXTENSIBLE and len(format_chunk) >= EXTENDED_FORMAT_BYTES:
        (code,) = struct.unpack_from("<H", format_chunk, CODE_IN_EXTENDED)
    # The container is what counts: 12 bit samples lie left-aligned in two bytes, 20 and 24 bit ones in three or four.
    encoding = ENCODINGS.get((code, frame_bytes // channels)) if channels and frame_bytes % channels == 0 else None
    if encoding is None:
        what = f"format {code}, {channels} channels, {bits} bits"
        raise WavError(f"{path} holds samples that are not read here ({what}). {_advice(path)}")
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise WavError(f"{path} says it has {sample_rate} samples a second; {LOWEST_RATE} to {HIGHEST_RATE} are read")
    streamed = declared_bytes == UNKNOWN_SIZE or (declared_bytes == 0 and available_bytes > 0)
    declared = available_bytes if streamed else declared_bytes
    frames = min(declared, available_bytes) // frame_bytes
    if frames == 0:
        raise WavError(f"{path} has a WAV header but no samples")
    return WavInfo(
        sample_rate=sample_rate,
        channels=channels,
        encoding=encoding,
        frames=frames,
        missing_frames=declared // frame_bytes - frames,
        data_offset=data_offset,
        frame_bytes=frame_bytes,
    )


def _advice(path: Path) -> str:
    return f"Convert it first, for example with: ffmpeg -i {path.name} -c:a pcm_s16le speech.wav"
