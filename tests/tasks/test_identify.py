import pytest

from tasks.identify import lang, script

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
        ("Президент посетил город.", "und"),
        ("ÖÐ¹úÈËÃñ", "und"),
        ("12345 ——", "und"),
        ("", "und"),
    ],
)
def test_lang(text: str, expected: str) -> None:
    assert lang(text) == expected


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
