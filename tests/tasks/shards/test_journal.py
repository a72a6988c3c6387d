import errno
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.config import CleanConfig
from schemas.document import Origin, Outcome, Run
from tasks.shards import journal as module
from tasks.shards.journal import Entry, Journal, Taken, folder_for, index_journals, read

MakeKept = Callable[..., Outcome]


def put_by(outcomes: list[Outcome], folder: Path) -> list[Entry]:
    with Journal(folder) as journal:
        return [journal.add(outcome) for outcome in outcomes]


def taken(journals: Path) -> Taken:
    return Taken(index_journals(journals, journals.with_name("index")))


def found(outcomes: list[Outcome], journals: Path) -> list[Entry | None]:
    """Where the outcomes of these documents are, as the next run looks them up."""
    index = taken(journals)
    return [index.find(outcome.origin) for outcome in outcomes]


def there(entries: list[Entry | None]) -> list[Entry]:
    return [entry for entry in entries if entry]


def the_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    return tmp_path / "journals"


def test_outcomes_come_back_by_their_documents(outcomes: list[Outcome], journals: Path) -> None:
    entries = put_by(outcomes, journals)
    assert found(outcomes, journals) == entries
    assert list(read(entries)) == outcomes
    assert list(read(reversed(entries))) == outcomes[::-1]


def test_documents_of_one_container_are_told_apart(outcomes: list[Outcome], journals: Path) -> None:
    """By their addresses, though they are of one source, and may be the same bytes."""
    same = [replace(outcomes[0], origin=replace(outcomes[0].origin, record=f"line={n}")) for n in range(1, 50)]
    entries = put_by(same, journals)
    assert found(same, journals) == entries
    assert list(read(there(found(same, journals)))) == same
    assert taken(journals).find(replace(same[0].origin, record="line=50")) is None


def test_a_document_that_has_changed_is_not_found(outcomes: list[Outcome], journals: Path) -> None:
    origins = [
        outcomes[0].origin,
        replace(outcomes[0].origin, sha256="0" * 64),
        replace(outcomes[0].origin, record_sha256="1" * 64),  # a field beside the text is another one
    ]
    (entry,) = put_by(outcomes[:1], journals)
    assert [taken(journals).find(origin) for origin in origins] == [entry, None, None]


def test_a_document_that_could_not_be_read_is_not_found(outcomes: list[Outcome], journals: Path) -> None:
    """It may be there the next time; nor one on which a process died."""
    unread = replace(outcomes[6], origin=replace(outcomes[6].origin, sha256=""))
    (entry,) = put_by([unread], journals)
    assert list(read([entry])) == [unread]
    with Journal(journals) as journal:
        journal.add(outcomes[0], lasts=False)
    assert found([unread, outcomes[0]], journals) == [None, None]


def test_nothing_was_put_by(outcomes: list[Outcome], journals: Path) -> None:
    assert index_journals(journals, journals.with_name("index")) is None
    with Journal(journals):
        pass
    assert index_journals(journals, journals.with_name("index")) is None
    assert taken(journals).find(outcomes[0].origin) is None
    assert list(read([])) == []


def test_an_index_of_many_finds_each_one(outcomes: list[Outcome], journals: Path) -> None:
    """Of several journals, as the keys are sorted among each other."""
    many = [replace(outcomes[0], origin=Origin("file:///a", f"line={n}", f"{n:064x}", 1)) for n in range(3000)]
    entries = [entry for start in range(0, 3000, 700) for entry in put_by(many[start : start + 700], journals)]
    assert found(many, journals) == entries


def test_every_process_has_a_journal_of_its_own(outcomes: list[Outcome], journals: Path) -> None:
    put_by(outcomes[:10], journals)
    put_by(outcomes[10:], journals)
    assert len(list(journals.iterdir())) == 2
    assert list(read(there(found(outcomes, journals)))) == outcomes


def test_of_two_outcomes_of_one_document_the_one_that_fits_is_found(make_kept: MakeKept, journals: Path) -> None:
    """Its file changed between two tries, say."""
    one, other = make_kept(1), make_kept(1, "別的{}文章。\n")
    entries = put_by([one, other], journals)
    assert found([one, other], journals) == entries
    put_by([other, one], journals)
    assert list(read(there(found([one, other], journals)))) == [one, other]
    assert list(read(entries)) == [one, other]


def test_of_a_journal_that_ends_anywhere_all_but_the_torn_outcome_are_found(
    outcomes: list[Outcome], journals: Path
) -> None:
    """At every length: its process was killed, or the disk was full."""
    entries = put_by(outcomes[:4], journals)
    path = the_file(journals)
    content = path.read_bytes()
    ends = [*[entry.offset for entry in entries][1:], len(content)]
    for length in [*range(0, len(content), 37), *ends]:
        path.write_bytes(content[:length])
        n_whole = sum(end <= length for end in ends)
        assert found(outcomes[:4], journals) == [*entries[:n_whole], *[None] * (4 - n_whole)]
        assert list(read(entries[:n_whole])) == outcomes[:n_whole]


def test_of_a_journal_with_a_flipped_bit_nothing_wrong_is_read(outcomes: list[Outcome], journals: Path) -> None:
    put_by(outcomes[:4], journals)
    path = the_file(journals)
    content = path.read_bytes()
    dice = random.Random(1)
    n_read = 0
    for _ in range(400):
        spoilt = bytearray(content)
        spoilt[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoilt)
        for outcome, entry in zip(outcomes, found(outcomes[:4], journals), strict=False):
            got = next(read([entry])) if entry else None
            assert got in (outcome, None)
            n_read += got is not None
    assert n_read > 400  # most flips hit one outcome of the four


def test_what_is_no_journal_is_passed_over(outcomes: list[Outcome], journals: Path) -> None:
    entries = put_by(outcomes[:3], journals)
    (journals / "journal-zeros").write_bytes(bytes(10_000))
    (journals / "journal-text").write_text("江畔" * 10_000)
    (journals / "something").write_text("else")
    assert found(outcomes[:3], journals) == entries


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


def test_a_full_disk_is_told_and_what_was_put_by_before_is_there(outcomes: list[Outcome], journals: Path) -> None:
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

    with Journal(journals) as journal:
        entries = [journal.add(outcome) for outcome in outcomes[:3]]
        journal._file = Full(journal._file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space left"):
            journal.add(outcomes[3])
    assert found(outcomes[:4], journals) == [*entries, None]
