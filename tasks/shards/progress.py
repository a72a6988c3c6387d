"""Telling whoever watches how far a run is."""

from collections.abc import Callable
from contextvars import ContextVar

Watch = Callable[[str, int], None]
"""Takes an event and a number: `found` (so many bytes more), `read` (of these), `cleaned` (so many documents more),
`learning`, `writing` (so many documents), `written` (of these), `comparing`, `settling`, `publishing`, `stopped`, and
others that are nobody's business.

Called from any thread.
"""

watcher: ContextVar[Watch | None] = ContextVar("watcher", default=None)
"""The command line sets it for its progress bar. A context variable, since Prefect hands those on to the threads of its
tasks, and a callback is no flow parameter."""


def tell(event: str, n: int = 0) -> None:
    """Tell the watcher, if there is one."""
    if watch := watcher.get():
        watch(event, n)
