"""Texts to measure with: generated ones, and those of files."""

from pathlib import Path

import pytest

from embedwell.bench import texts
from embedwell.bench.texts import LONGEST, SHORTEST, generated, read
from embedwell.errors import Invalid


def test_generated_texts_are_distinct_and_the_same_again() -> None:
    made = generated(20_000)
    assert len(set(made)) == 20_000
    assert generated(50) == made[:50]
    assert generated(50, seed=1) != made[:50]


def test_a_text_that_was_there_before_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LINKING", ["the"])
    monkeypatch.setattr(texts, "TELLING", ["one"])
    assert len(set(generated(2_000))) == 2_000


def test_generated_texts_have_mixed_lengths() -> None:
    lengths = [len(text.split()) for text in generated(5_000)]
    assert min(lengths) == SHORTEST
    assert 80 < max(lengths) <= LONGEST
    assert 29 < sum(lengths) / len(lengths) < 35


def test_what_is_a_text_of_each_kind_of_file(tmp_path: Path) -> None:
    files = {
        "a.txt": "\ufeffone\n\n two \none\n",
        "b.jsonl": '{"title": "one", "text": "two"}\n\n{"id": 3, "text": "a\u2028b", "title": null}\n',
        "c.csv": 'one,"two, three",4.5\r\n-1e3,,"four\nfive"\n',
        "d.tsv": "one\ttwo, three\t7\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, "utf-8", newline="")
    assert read(tmp_path / "a.txt") == ["one", "two"]
    assert read(tmp_path / "b.jsonl") == ["one two", "a\u2028b"]
    assert read(tmp_path / "c.csv") == ["one", "two, three", "four\nfive"]
    assert read(tmp_path / "d.tsv") == ["one", "two, three"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.parquet", b"x", r"a\.parquet: cannot read texts of this kind: give \.txt, \.jsonl"),
        ("a.txt", b"\n \n", r"a\.txt has no texts"),
        ("a.csv", b"1,2\n", r"a\.csv has no texts"),
        ("a.txt", b"\xff\xfe", r"a\.txt cannot be read: 'utf-8' codec"),
        ("a.csv", b'"' + b"x" * 200_000, r"a\.csv cannot be read: field larger than field limit"),
        ("a.jsonl", b'{"text": "x"}\n{"text": 5}\n', r'line 2 is no JSON object with a "text"'),
        ("a.jsonl", b"[" * 5_000, r'line 1 is no JSON object with a "text"'),
        ("missing.txt", None, r"missing\.txt cannot be read: No such file or directory"),
        ("missing", None, r"missing cannot be read: No such file or directory"),
        ("x" * 300, None, r"xx cannot be read: File name too long"),
    ],
)  # fmt: skip
def test_files_without_texts_are_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Invalid, match=reason):
        read(tmp_path / name)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(256_000_001)
    with pytest.raises(Invalid, match=r"a\.txt is larger than 256 MB: give a part of it"):
        read(tmp_path / "a.txt")
