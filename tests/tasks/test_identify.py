import unicodedata

import polars as pl
import pytest

from tasks.identify import Identity, Kind, identify, kinds, script
from tasks.scripts import codes

HANS = "产业融合发展，推动乡村振兴。"
HANT = "產業融合發展，推動鄉村振興。"
ENGLISH = "The president of the region said that it was the first visit to the city."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HANS, "zh"),
        (HANT, "zh"),
        (ENGLISH, "en"),
        (f"{ENGLISH} 中国", "en"),
        (f"使用 {'Kubernetes '} 部署服务", "zh"),
        ("日本の産業は発展しています。", "ja"),
        ("喜茶の新店开业，市民排队购买。" + HANS, "zh"),
        ("산업의 융합과 발전을 추진한다.", "ko"),
        ("Le président de la région est en visite dans la ville.", "und"),
        ("Der Präsident ist in der Stadt und die Leute warten.", "und"),
        ("De president is in de stad.", "und"),
        ("Президент посетил город.", "und"),
        (f"{'Президент посетил город. ' * 4}{ENGLISH}", "und"),
        ("ÖÐ¹úÈËÃñ", "und"),
        ("12345 ——", "und"),
        ("\ud800\ue000", "und"),
        ("", "und"),
    ],
)
def test_lang(text: str, expected: str) -> None:
    assert identify(text).lang == expected


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (HANS * 10, 0.95, 1.0),
        (ENGLISH * 10, 0.95, 1.0),
        ("日本の産業は発展しています。" * 10, 0.95, 1.0),
        (f"{HANS}{ENGLISH}", 0.2, 0.5),  # seven words of one, fifteen of the other
        ("中", 0.3, 0.4),  # could be Japanese as well
        ("中国", 0.5, 0.5),
        ("Le président", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_confidence(text: str, least: float, most: float) -> None:
    assert least <= identify(text).confidence <= most


def test_nothing_is_known_of_nothing() -> None:
    assert identify("") == Identity("und", 0.0, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HANS, "hans"),
        (HANT, "hant"),
        (HANS + HANT, "mixed"),
        (HANT * 20 + HANS, "hant"),
        ("台北市的里長吃了群峰之後的飯", "hant"),  # 台 里 吃 群 have other Traditional forms in dictionaries only
        ("清朝的乾隆皇帝发布命令，乾隆年间", "hans"),
        ("山水人家", ""),
        ("日本の産業は発展しています。", ""),
        (ENGLISH, ""),
        ("", ""),
    ],
)
def test_script(text: str, expected: str) -> None:
    assert script(text) == expected


@pytest.mark.parametrize(
    ("pattern", "kind"), [(r"\p{Han}", Kind.HAN), (r"[\p{P}\p{S}--\p{Han}]", Kind.SIGN), (r"[\p{Z}\p{C}]", Kind.UNSEEN)]
)
def test_kinds_are_those_of_unicode(pattern: str, kind: Kind) -> None:
    chars = [c for c in map(chr, range(0x30000)) if unicodedata.category(c) not in {"Cn", "Cs"}]
    found = kinds(codes("".join(chars))) == kind
    expected = pl.Series(chars).str.contains(pattern).to_numpy()
    assert [c for c, differs in zip(chars, found != expected, strict=True) if differs] == []
