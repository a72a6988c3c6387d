import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.read.sources import SMALL_BYTES, Source, SourceError, UnreadableError, find_sources, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two documents, one of them in a folder within."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "b.txt").write_text("乙")
    (tmp_path / "in" / "deep" / "a.txt").write_text("甲")
    return tmp_path


def find(folder: Path, *given: str) -> list[Source]:
    return find_sources([str(name) for name in given], folder / "out", folder)


def names(folder: Path, *given: Any) -> list[str]:
    root = folder.as_uri() + "/"
    return [source.uri.removeprefix(root) for source in find(folder, *map(str, given))]


def test_a_folder_is_read_with_all_that_is_in_it_sorted_by_uri(folder: Path) -> None:
    assert names(folder, folder / "in") == ["in/b.txt", "in/deep/a.txt"]


def test_sizes_are_found_with_the_files(folder: Path) -> None:
    assert [source.n_bytes for source in find(folder, str(folder / "in"))] == [3, 3]


def test_hidden_files_and_folders_are_skipped_unless_named(folder: Path) -> None:
    (folder / "in" / ".hidden").write_text("x")
    (folder / "in" / ".git").mkdir()
    (folder / "in" / ".git" / "config").write_text("x")
    assert names(folder, folder / "in") == ["in/b.txt", "in/deep/a.txt"]
    assert names(folder, folder / "in" / ".hidden") == ["in/.hidden"]


def test_a_pattern_crosses_folders_with_two_stars_only(folder: Path) -> None:
    assert names(folder, folder / "in" / "*.txt") == ["in/b.txt"]
    assert names(folder, folder / "in" / "**" / "*.txt") == ["in/b.txt", "in/deep/a.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(folder: Path) -> None:
    (folder / "in" / "[b].txt").write_text("x")
    assert names(folder, folder / "in" / "[b].txt") == ["in/%5Bb%5D.txt"]


def test_a_source_given_twice_and_in_different_ways_is_taken_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    given = ("in", "in/b.txt", "./in/../in/b.txt", folder / "in" / "b.txt", (folder / "in" / "b.txt").as_uri(), "in/*")
    assert names(folder, *given) == ["in/b.txt", "in/deep/a.txt"]


def test_a_link_to_a_file_goes_by_its_own_name_only_if_the_file_is_not_there_itself(folder: Path) -> None:
    (folder / "elsewhere.txt").write_text("x")
    (folder / "in" / "a-link").symlink_to(folder / "elsewhere.txt")
    (folder / "in" / "b-link").symlink_to(folder / "in" / "b.txt")
    assert names(folder, folder / "in") == ["in/a-link", "in/b.txt", "in/deep/a.txt"]


def test_loops_of_links_end(folder: Path) -> None:
    (folder / "in" / "again").symlink_to(folder / "in")
    (folder / "in" / "deep" / "up").symlink_to("..")
    assert names(folder, folder / "in") == ["in/b.txt", "in/deep/a.txt"]


def test_folders_that_all_link_to_each_other_cost_no_more_than_there_are(folder: Path) -> None:
    for one in range(12):
        (folder / "web" / str(one)).mkdir(parents=True)
        (folder / "web" / str(one) / "page").write_text("x")
    for one in range(12):
        for other in range(12):
            (folder / "web" / str(one) / f"to{other}").symlink_to(folder / "web" / str(other))
    assert names(folder, folder / "web") == sorted(f"web/{one}/page" for one in range(12))


def test_links_that_lead_nowhere_stay_to_be_recorded(folder: Path) -> None:
    (folder / "in" / "dangling").symlink_to("nothing")
    (folder / "in" / "loop").symlink_to("loop")
    assert names(folder, folder / "in") == ["in/b.txt", "in/dangling", "in/deep/a.txt", "in/loop"]


def test_pipes_in_folders_stay_to_be_recorded_and_are_refused_by_name(folder: Path) -> None:
    os.mkfifo(folder / "in" / "pipe")
    assert names(folder, folder / "in") == ["in/b.txt", "in/deep/a.txt", "in/pipe"]
    assert names(folder, folder / "in" / "p*") == ["in/pipe"]
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        find(folder, str(folder / "in" / "pipe"))


def test_the_output_folder_is_not_read_wherever_it_lies(folder: Path) -> None:
    out = folder / "in" / "out"
    out.mkdir()
    (out / "part.parquet").write_text("x")
    (folder / "in" / "by-link").symlink_to(out)
    (folder / "in" / "one-file").symlink_to(out / "part.parquet")
    for given in (folder / "in", folder / "in" / "*", folder / "in" / "**"):
        found = find_sources([str(given)], out, folder)
        assert [Path(source.path).name for source in found] == ["b.txt", "a.txt"]
    with pytest.raises(SourceError, match="output folder"):
        find_sources([str(out)], out, folder)


def test_names_that_are_not_utf8_become_percent_encoded(folder: Path) -> None:
    path = os.fsencode(folder / "in") + b"/\xd6\xd0.txt"
    with open(path, "wb") as file:  # noqa: PTH123  pathlib takes no bytes
        file.write(b"x")
    source = next(s for s in find(folder, str(folder / "in")) if "%D6" in s.uri)
    assert source.uri.endswith("/in/%D6%D0.txt")
    with open_source(source) as stream:
        assert stream.read() == b"x"
    assert find(folder, source.uri) == [source]


def test_line_ends_and_control_characters_in_names_are_escaped(folder: Path) -> None:
    (folder / "in" / "a\n\x1b[31m.txt").write_text("x")
    assert "in/a%0A%1B%5B31m.txt" in names(folder, folder / "in")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing", "no such file or folder: 'nothing' in "),
        ("", "no such file or folder"),
        ("/nothing/at/all", "no such file or folder: '/nothing/at/all'"),
        ("in/*.html", "no file matches 'in/\\*.html' in "),
        ("empty", "there are no files in .*/empty"),
        ("only-hidden", "there are no files in .*/only-hidden"),
        ("loop", "symbolic links"),
    ],
)
def test_what_leads_nowhere_is_an_error_that_says_where(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "only-hidden").mkdir()
    (folder / "only-hidden" / ".x").write_text("x")
    (folder / "loop").symlink_to("loop")
    with pytest.raises(SourceError, match=message):
        find(folder, given)


def test_a_folder_that_cannot_be_listed_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, who may list anything
    with pytest.raises(SourceError, match=r"cannot list the folder .*/in/deep: Permission denied"):
        find(folder, str(folder / "in"))


def test_standard_input_is_named_by_its_hash_and_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"abc")

    monkeypatch.setattr(sys, "stdin", Stdin)
    (source,) = find(folder, "-", "-")
    assert source.uri == "stdin:ba7816bf8f01cfea"  # the start of the well-known SHA-256 of abc
    with open_source(source) as stream:
        assert stream.read() == b"abc"
    assert source.n_bytes == 3


def test_a_pattern_over_folders_that_link_to_each_other_ends(folder: Path) -> None:
    for one in "abcdefghijkl":
        (folder / "web" / one).mkdir(parents=True)
        for other in "abcdefghijkl":
            (folder / "web" / one / f"to-{other}").symlink_to(folder / "web" / other)
    (folder / "web" / "a" / "page.txt").write_text("x")
    assert names(folder, folder / "web" / "**" / "*.txt") == ["web/a/page.txt"]


def test_patterns_find_hidden_files_only_if_they_ask_for_them(folder: Path) -> None:
    (folder / "in" / ".hidden.txt").write_text("x")
    (folder / "in" / ".git").mkdir()
    (folder / "in" / ".git" / "x.txt").write_text("x")
    assert names(folder, folder / "in" / "**" / "*.txt") == ["in/b.txt", "in/deep/a.txt"]
    assert names(folder, folder / "in" / ".*.txt") == ["in/.hidden.txt"]


def test_patterns_may_climb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "in" / "deep")
    assert names(folder, "../*.txt") == ["in/b.txt"]


def test_a_pattern_that_is_none_is_an_error(folder: Path) -> None:
    with pytest.raises(SourceError, match="is no pattern"):
        find(folder, str(folder / "in" / "**.txt"))


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES, SMALL_BYTES + 1])
def test_a_file_is_read_as_it_is_though_it_was_another_when_it_was_found(tmp_path: Path, size: int) -> None:
    """Whether it grew, shrank or is what it was, and is read at once or not."""
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(size))
    for n_bytes in (0, size, size + 1, max(0, size - 1)):
        with open_source(Source(path.as_uri(), path, n_bytes)) as stream:
            assert stream.seekable()
            assert stream.read(SMALL_BYTES * 2) == bytes(size)


def test_a_file_that_has_become_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    os.mkfifo(path)
    with pytest.raises(UnreadableError, match="a named pipe"):
        open_source(Source(path.as_uri(), path, 12))


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    for path, kind in ((tmp_path / "gone", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind):
            open_source(Source(path.as_uri(), path, 12))
