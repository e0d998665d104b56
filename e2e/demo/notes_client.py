"""The demo's MCP client: the official SDK's, told what to do by lines of JSON, answering each with one line of JSON.

It decides nothing and retries nothing: what the SDK was answered is what it prints.
A line is {"do": "list"} or {"do": "call", "tool": NAME, "arguments": {...}}.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

from mcp import Client, MCPError


async def listed(client: Client) -> dict[str, Any]:
    tools = await client.list_tools(cache_mode="bypass")
    return {"tools": [tool.name for tool in tools.tools]}


async def called(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    steps: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        steps.append(done)

    result = await client.call_tool(tool, arguments, progress_callback=progress)
    text = "\n".join(getattr(part, "text", "") for part in result.content)
    return {"is_error": result.is_error, "text": text, "meta": result.meta, "progress": steps}


async def carried_out(client: Client, order: dict[str, Any]) -> dict[str, Any]:
    try:
        if order["do"] == "list":
            return await listed(client)
        return await called(client, order["tool"], order["arguments"])
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}


async def main() -> None:
    options = argparse.ArgumentParser(description="an MCP client that reads orders from its standard input")
    options.add_argument("url")
    options.add_argument("--mode", default="auto", help="auto, legacy, or a protocol version")
    given = options.parse_args()

    async with Client(given.url, mode=given.mode, read_timeout_seconds=20) as client:
        print(json.dumps({"version": client.protocol_version}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await carried_out(client, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
