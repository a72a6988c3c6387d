"""What a user can set, as pydantic models: the same ones are the flow's parameters and its form."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Script = Literal["hans", "hant", "tw", "hk", "keep"]


class CleanConfig(BaseModel):
    """How one document is cleaned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    script: Script = Field(
        default="hans",
        description="Script of the clean text: hans (Simplified), hant (Traditional), "
        "tw and hk (Traditional with the variants of Taiwan or Hong Kong), or keep.",
    )
    skip: tuple[str, ...] = Field(default=(), description="Names of steps that are left out.")
    min_chars: int = Field(
        default=10,
        ge=0,
        description="A document with fewer letters and ideographs after cleaning is rejected as too-short.",
    )
    max_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1,
        description="A document with more bytes is rejected as too-large without being read into memory.",
    )
