import pytest

from weight_conversion.crc32c import crc32c


# RFC 3720, appendix B.4.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
    ids=["empty", "digits", "zeros", "ones", "counting"],
)
def test_known_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected
    assert crc32c(memoryview(bytearray(data))) == expected


def test_pieces_join(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = crc32c(bytes(range(256)))
    monkeypatch.setattr("weight_conversion.crc32c._CHUNK", 7)
    assert crc32c(bytes(range(256))) == whole
