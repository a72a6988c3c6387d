from hypothesis import given
from hypothesis import strategies as st

from tasks.scripts import CharTable

REPLACED = {ord("國"): "国", ord("，"): ",", ord("a"): "中", 0x20B9F: "叱", ord("發"): "\U00020000"}
PIECES = st.text("國國发發a，b\n\ud800\U00020b9f\U0001f600\U0010ffff", max_size=30)


@given(PIECES, st.integers(0, 12))
def test_long_and_short_texts_come_out_as_str_translate_has_them(piece: str, times: int) -> None:
    text = piece * times
    assert CharTable(REPLACED)(text) == text.translate(REPLACED)
