import pytest

from kurir.api.media.kinds import LIMITS, MIB, mimetype_for
from kurir.api.problems import Problem


def test_limits_are_the_documented_ones() -> None:
    in_mb = {kind: limit // MIB for kind, limit in LIMITS.items()}
    assert in_mb == {"image": 16, "document": 32, "audio": 16, "video": 64, "sticker": 1}


@pytest.mark.parametrize(
    ("kind", "sniffed", "name", "mimetype"),
    [
        ("image", "image/jpeg", "a.jpg", "image/jpeg"),
        ("image", "image/png", "renamed.pdf", "image/png"),
        ("sticker", "image/webp", None, "image/webp"),
        ("audio", "application/ogg", "a.ogg", "audio/ogg"),
        ("audio", "video/mp4", "a.m4a", "audio/mp4"),
        ("document", "application/pdf", None, "application/pdf"),
        (
            "document",
            "application/zip",
            "a.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        ("document", "application/zip", "a.zip", "application/zip"),
        ("document", "application/CDFV2", "a.xls", "application/vnd.ms-excel"),
        ("document", "text/x-python", "a.txt", "text/plain"),
    ],
)
def test_the_bytes_decide_and_the_name_only_among_formats_of_one_container(
    kind: str, sniffed: str, name: str | None, mimetype: str
) -> None:
    assert mimetype_for(kind, sniffed, name) == mimetype  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "sniffed", "name"),
    [
        ("image", "application/pdf", "a.jpg"),
        ("image", "image/svg+xml", "a.svg"),
        ("sticker", "image/png", "a.webp"),
        ("document", "application/x-dosexec", "a.pdf"),
        ("document", "text/html", "a.txt"),
        ("document", "text/x-shellscript", "a.sh"),
        ("video", "application/octet-stream", "a.mp4"),
    ],
)
def test_what_is_not_of_the_kind_is_refused_by_its_real_type(kind: str, sniffed: str, name: str) -> None:
    with pytest.raises(Problem) as refused:
        mimetype_for(kind, sniffed, name)  # type: ignore[arg-type]
    assert refused.value.status == 415
    assert sniffed in refused.value.message
