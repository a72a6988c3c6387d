"""The pipeline without Prefect; and, for other people's programs, `from tasks import clean_text`.

What `tasks.library` and `tasks.tables` offer is loaded when it is first asked for: whoever wants another module doesn't
pay for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.config import CleanConfig
    from tasks.library import CleanedDocument, RejectedError, clean_many, clean_one, clean_text
    from tasks.tables import BatchCleaner

__all__ = ["BatchCleaner", "CleanConfig", "CleanedDocument", "RejectedError", "clean_many", "clean_one", "clean_text"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module("tasks.tables" if name == "BatchCleaner" else "tasks.library")
    return getattr(module, name)
