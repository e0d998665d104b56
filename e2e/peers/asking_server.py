"""An MCP server that asks back: its tools bear names of the demo's notes, and each wants something of the client before it answers.

It knows nothing of AgentGate. In the session era its questions are requests on the call's event stream; since 2026-07-28
they are a result of their own, and the client calls again with the answers.
"""

import argparse
import sys
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve, Sample
from mcp_types import CreateMessageResult, SamplingMessage, TextContent
from pydantic import BaseModel

# A script finds only what lies beside it, and this lies with the demo.
sys.path.append(str(Path(__file__).parents[1] / "demo"))
from serving import serve


class Choice(BaseModel):
    id: int


async def chosen() -> Elicit[Choice]:
    return Elicit("which note?", Choice)


async def summed_up() -> Sample:
    question = SamplingMessage(role="user", content=TextContent(type="text", text="sum up: oats, apples"))
    return Sample([question], max_tokens=20)


def asking_server() -> MCPServer:
    server = MCPServer("asking")

    @server.tool()
    async def read_note(choice: Annotated[Choice, Resolve(chosen)]) -> str:
        """Asks the person which note."""
        return f"note {choice.id}"

    @server.tool()
    async def search_notes(summary: Annotated[CreateMessageResult, Resolve(summed_up)]) -> str:
        """Asks the client's model."""
        return f"summary: {summary.content.text}"

    @server.tool()
    async def list_notes(context: Context) -> str:
        """Says on the session's own stream that the list has changed."""
        await context.session.send_tool_list_changed()
        return "told"

    return server


def main() -> None:
    options = argparse.ArgumentParser(description="an MCP server that asks back, for the stories")
    options.add_argument("--ready-file", type=Path, required=True, help="receives the port once it listens")
    given = options.parse_args()

    serve(asking_server().streamable_http_app(), ready_file=given.ready_file)


if __name__ == "__main__":
    main()
