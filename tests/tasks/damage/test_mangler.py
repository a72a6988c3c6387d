"""The forward model, held against the worked bytes of the samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.damage.mangler import Broken, Decoder, Undefined, decode, encode, insert_glosses, mangle, trim

SITE_003 = Decoder(Broken.SWALLOW, Undefined.DROP)


def table(**glosses: str) -> dict[bytes, str]:
    return {char.encode("gbk"): f"({reading})" for char, reading in glosses.items()}


def test_seed_003_comes_out_as_observed() -> None:
    glosses = table(產="chǎn", 業="yè", 節="jié", 發="fā")
    assert mangle("發展潛力，推動一二三產業", glosses, SITE_003) == "發(fā)展?jié)摿Γ苿右欢a(chǎn)業(yè)"


def test_seed_002_cut_into_sentences_comes_out_as_observed() -> None:
    observed = mangle("駛入快車道。", table(側="cè"), SITE_003, cut=lambda text: [text[:-1], text[-1]])
    assert observed == "駛?cè)肟燔嚨?。"


def test_a_trim_makes_the_commonest_trace() -> None:
    data = insert_glosses(trim("。“圣地車都”戰略".encode("gbk")), table(戰="zhàn"))
    assert decode(data, Decoder(Broken.DROP, Undefined.DROP)) == "！笆サ剀嚩肌睉(zhàn)略"


@pytest.mark.parametrize(
    ("decoder", "observed"),
    [
        (Decoder(Broken.SWALLOW, Undefined.PRIVATE), "展?jié)摿Γ\ue0e8苿"),
        (Decoder(Broken.MARK, Undefined.MARK, "\ufffd"), "展\ufffd(jié)摿Γ\ufffd苿"),
        (Decoder(Broken.DROP, Undefined.DROP), "展(jié)摿Γ苿"),
    ],
)
def test_ways_of_reading_a_broken_pair(decoder: Decoder, observed: str) -> None:
    data = insert_glosses("展潛力，推動".encode("gbk"), table(節="jié"))
    assert decode(data[: data.index(b"\xc6\x84") + 2], decoder) == observed


def test_user_defined_pairs_have_their_private_use_characters() -> None:
    assert encode("\ue000") == b"\xaa\xa1"
    assert encode("\ue4c5") == b"\xfe\xfe"
    assert encode("\ue765") == b"\xa7\xa0"
    assert encode("€") == b"\x80"
    assert encode("🙂") is None


@given(
    st.text(st.characters(codec="gbk"), max_size=50), st.sampled_from(list(Broken)), st.sampled_from(list(Undefined))
)
def test_nothing_happens_without_glosses(text: str, broken: Broken, undefined: Undefined) -> None:
    assert mangle(text, {}, Decoder(broken, undefined)) == text
