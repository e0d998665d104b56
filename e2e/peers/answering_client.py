"""An MCP client that answers what a server asks, through the official SDK. It calls each tool once and prints what it was told.

It decides nothing: every question gets the same answer, so that a story can tell an answer that arrived from one that did not.
"""

import argparse
import asyncio
import json

from mcp import Client
from mcp_types import CreateMessageResult, ElicitResult, TextContent

PATIENCE_S = 20


async def choose(context: object, params: object) -> ElicitResult:
    return ElicitResult(action="accept", content={"id": 3})


async def sum_up(context: object, params: object) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="breakfast"), model="none")


async def main() -> None:
    options = argparse.ArgumentParser(description="an MCP client that answers what it is asked")
    options.add_argument("url")
    options.add_argument("--mode", default="auto", help="auto, legacy, or a protocol version")
    given = options.parse_args()

    told: dict[str, object] = {}
    changed = asyncio.Event()

    async def hear(message: object) -> None:
        if getattr(message, "method", None) == "notifications/tools/list_changed":
            changed.set()

    callbacks = {"elicitation_callback": choose, "sampling_callback": sum_up, "message_handler": hear}
    async with Client(given.url, mode=given.mode, read_timeout_seconds=PATIENCE_S, **callbacks) as client:
        told["version"] = client.protocol_version
        for tool in ("read_note", "search_notes", "list_notes"):
            result = await client.call_tool(tool, {})
            told[tool] = "\n".join(getattr(part, "text", "") for part in result.content)
        if given.mode == "legacy":
            await asyncio.wait_for(changed.wait(), PATIENCE_S)
        told["heard_of_change"] = changed.is_set()
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
