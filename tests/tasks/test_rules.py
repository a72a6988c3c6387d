import shutil
from pathlib import Path

import pytest

from tasks import rules
from tasks.rules import digest, load


@pytest.mark.parametrize("name", ["language/__init__.py", "steps/edits.py", "rules/symbols.txt", "decode/__init__.py"])
def test_the_digest_changes_with_all_that_takes_part(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tmp_path / "tasks"
    shutil.copytree(Path(rules.__file__).parents[1], tasks, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(rules, "_FOLDER", tasks / "rules")
    before = digest.__wrapped__()
    assert before == digest()
    with (tasks / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert digest.__wrapped__() != before


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="spam-words"):
        load("nosuch")
