"""Align a small language model to written principles, on any GPU.

This package exports the names of the generated module. It adds two things by hand: replies as asynchronous
iterators, and the code of an error.
"""

from __future__ import annotations

import asyncio
from typing import AsyncIterator, Optional, Union

from ._native.parr import *  # noqa: F403
from ._native.parr import (
    CancelToken,
    ChatSession,
    ParrError,
    Piece,
    Reply,
    ReplyOptions,
    TokenListener,
)

__version__ = version()  # noqa: F405


def error_code(error: ParrError) -> str:
    """Returns the stable code of an error: the name of its class, such as ``"DeviceLost"``."""
    return type(error).__name__


class _Queued(TokenListener):
    """Passes pieces from the thread that generates them to the waiting event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, queue: "asyncio.Queue[Optional[Piece]]") -> None:
        self._loop = loop
        self._queue = queue

    def on_piece(self, piece: Piece) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, piece)


async def stream(
    session: ChatSession, text: str, options: Optional[ReplyOptions] = None
) -> AsyncIterator[Union[Piece, Reply]]:
    """Sends ``text`` and yields the pieces of the reply as they are generated, then the whole :class:`Reply`.

    Leaving the loop early cancels the reply. The text so far stays in the conversation.
    """
    queue: "asyncio.Queue[Optional[Piece]]" = asyncio.Queue()
    cancel = CancelToken()
    listener = _Queued(asyncio.get_running_loop(), queue)
    reply = asyncio.ensure_future(session.reply(text, options, listener, cancel))
    reply.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (piece := await queue.get()) is not None:
            yield piece
        yield await reply
    finally:
        if not reply.done():
            cancel.cancel()
            await reply
