from pathlib import Path

import pytest

NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。"


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Three good documents and a bad one."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"{NEWS}第{number}页。")
    (folder / "empty.txt").touch()
    return folder
