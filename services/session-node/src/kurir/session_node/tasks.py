"""Waiting for a task of one's own."""

import asyncio


async def ended(task: "asyncio.Task[None] | None") -> None:
    """Wait for the end of our own task, however it ends; when the wait is cancelled, so is the task."""
    if task is None:
        return
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
