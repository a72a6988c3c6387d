import errno
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.config import CleanConfig
from schemas.document import Outcome, Run
from tasks.shards import journal as module
from tasks.shards.journal import Entry, Journal, folder_for, key_of, read, restricted, scan

MakeKept = Callable[..., Outcome]


def put_by(outcomes: list[Outcome], folder: Path) -> list[Entry]:
    with Journal(folder) as journal:
        return [journal.add(outcome) for outcome in outcomes]


def uris(outcomes: list[Outcome]) -> list[str]:
    return [outcome.origin.source_uri for outcome in outcomes]


def the_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_outcomes_come_back_by_their_sources(outcomes: list[Outcome], tmp_path: Path) -> None:
    entries = put_by(outcomes, tmp_path)
    found = scan(tmp_path)
    assert [found[key_of(uri)] for uri in uris(outcomes)] == entries
    assert list(read(entries)) == outcomes
    assert list(read(reversed(entries))) == outcomes[::-1]
    assert [entry.sha256.hex() for entry in entries] == [outcome.origin.sha256 for outcome in outcomes]


def test_a_document_that_could_not_be_read_has_no_hash(outcomes: list[Outcome], tmp_path: Path) -> None:
    origin = replace(outcomes[6].origin, sha256="")
    (entry,) = put_by([replace(outcomes[6], origin=origin)], tmp_path)
    assert entry.sha256 == bytes(32)
    assert scan(tmp_path)[key_of(origin.source_uri)] == entry


def test_nothing_was_put_by(tmp_path: Path) -> None:
    assert scan(tmp_path / "missing") == {}
    with Journal(tmp_path):
        pass
    assert scan(tmp_path) == {}
    assert list(read([])) == []


def test_only_those_of_some_sources(outcomes: list[Outcome], tmp_path: Path) -> None:
    put_by(outcomes, tmp_path)
    some = restricted(scan(tmp_path), [*uris(outcomes)[3:5], "file:///elsewhere"])
    assert some.keys() == {key_of(uri) for uri in uris(outcomes)[3:5]}


def test_every_process_has_a_journal_of_its_own(outcomes: list[Outcome], tmp_path: Path) -> None:
    put_by(outcomes[:10], tmp_path)
    put_by(outcomes[10:], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    found = scan(tmp_path)
    assert list(read(found[key_of(uri)] for uri in uris(outcomes))) == outcomes


def test_of_two_outcomes_of_one_source_there_is_one_that_is_whole(make_kept: MakeKept, tmp_path: Path) -> None:
    """Its file changed between two tries, say: which of them fits is told by the hash."""
    one, other = make_kept(1), make_kept(1, "別的{}文章。\n")
    entries = put_by([one, other], tmp_path)
    found = scan(tmp_path)
    assert len(found) == 1
    (outcome,) = read(found.values())
    assert outcome in (one, other)
    assert outcome
    assert found[key_of(one.origin.source_uri)].sha256.hex() == outcome.origin.sha256
    put_by([other, one], tmp_path)
    assert len(scan(tmp_path)) == 1
    assert list(read(entries)) == [one, other]


def test_of_a_journal_that_ends_anywhere_all_but_the_torn_outcome_are_found(
    outcomes: list[Outcome], tmp_path: Path
) -> None:
    """At every length: its process was killed, or the disk was full."""
    put_by(outcomes[:4], tmp_path / "whole")
    path = the_file(tmp_path / "whole")
    content = path.read_bytes()
    ends = [*[entry.offset for entry in scan(tmp_path / "whole").values()][1:], len(content)]
    for length in [*range(0, len(content), 37), *ends]:
        path.write_bytes(content[:length])
        found = scan(tmp_path / "whole")
        n_whole = sum(end <= length for end in ends)
        assert found.keys() == {key_of(uri) for uri in uris(outcomes)[:n_whole]}
        assert list(read(found.values())) == outcomes[:n_whole]


def test_of_a_journal_with_a_flipped_bit_nothing_wrong_is_read(outcomes: list[Outcome], tmp_path: Path) -> None:
    put_by(outcomes[:4], tmp_path)
    path = the_file(tmp_path)
    content = path.read_bytes()
    by_uri = dict(zip(map(key_of, uris(outcomes)), outcomes, strict=True))
    dice = random.Random(1)
    for _ in range(400):
        spoilt = bytearray(content)
        spoilt[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoilt)
        found = scan(tmp_path)
        got = list(read(found.values()))
        whole = [outcome for outcome in got if outcome is not None]
        assert all(outcome in outcomes[:4] for outcome in whole)
        named = [(outcome, by_uri.get(key)) for key, outcome in zip(found, got, strict=True) if outcome]
        assert all(expected in (outcome, None) for outcome, expected in named)


def test_what_is_no_journal_is_passed_over(outcomes: list[Outcome], tmp_path: Path) -> None:
    (tmp_path / "journal-zeros").write_bytes(bytes(10_000))
    (tmp_path / "journal-text").write_text("江畔" * 10_000)
    (tmp_path / "something").write_text("else")
    entries = put_by(outcomes[:3], tmp_path)
    assert sorted(scan(tmp_path).values()) == sorted(entries)


def test_other_rules_settings_and_programs_have_other_folders(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = replace(run, run_id="another", started_at=run.started_at.replace(year=2030))
    assert folder_for(same, tmp_path) == folder_for(run, tmp_path)
    folders = [
        folder_for(other, tmp_path)
        for other in (
            run,
            replace(run, rules_digest="others"),
            replace(run, pipeline_version="9.9.9"),
            replace(run, config=CleanConfig(script="tw")),
            replace(run, config=CleanConfig(skip=("spam",))),
        )
    ]
    monkeypatch.setattr(module, "_program", lambda: "changed")
    folders.append(folder_for(run, tmp_path))
    assert len(set(folders)) == len(folders)
    assert {folder.parent for folder in folders} == {tmp_path}


def test_a_write_that_is_short_goes_on(outcomes: list[Outcome], tmp_path: Path) -> None:
    class Slow:
        def __init__(self, file: Any) -> None:
            self.file = file

        def tell(self) -> int:
            return int(self.file.tell())

        def write(self, content: bytes) -> int:
            return int(self.file.write(content[:100]))

        def close(self) -> None:
            self.file.close()

    with Journal(tmp_path) as journal:
        journal._file = Slow(journal._file)  # type: ignore[assignment]
        entries = [journal.add(outcome) for outcome in outcomes]
    assert list(read(entries)) == outcomes


def test_a_full_disk_is_told_and_what_was_put_by_before_is_there(outcomes: list[Outcome], tmp_path: Path) -> None:
    class Full:
        """Takes some more bytes, then none."""

        def __init__(self, file: Any) -> None:
            self.file = file
            self.room = 50

        def tell(self) -> int:
            return int(self.file.tell())

        def write(self, content: bytes) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = self.file.write(content[: self.room])
            self.room -= written
            return int(written)

        def close(self) -> None:
            self.file.close()

    with Journal(tmp_path) as journal:
        entries = [journal.add(outcome) for outcome in outcomes[:3]]
        journal._file = Full(journal._file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space left"):
            journal.add(outcomes[3])
    assert list(scan(tmp_path).values()) == entries
