"""An agent of the pydantic-ai framework whose model is a list of calls: it makes them one after the other, whatever it is told.

It decides nothing and reaches no model: it prints what a model would have read after each call, and how the run ended.
"""

import argparse
import asyncio
import json
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

PATIENCE_S = 20


class Stubborn:
    """The model: what is left to call, what it was shown, and what it read of each call."""

    def __init__(self, calls: list[dict[str, Any]]) -> None:
        self.calls = calls
        self.shown: list[str] = []
        self.read: list[dict[str, Any]] = []

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.shown = [tool.name for tool in info.function_tools]
        for part in messages[-1].parts:
            if isinstance(part, ToolReturnPart):
                self.read.append({"tool": part.tool_name, "text": part.model_response_str()})
            elif isinstance(part, RetryPromptPart):
                self.read.append({"tool": part.tool_name, "text": part.model_response()})
        if not self.calls:
            return ModelResponse(parts=[TextPart("all done")])
        call = self.calls.pop(0)
        return ModelResponse(parts=[ToolCallPart(call["tool"], call["arguments"])])


async def main() -> None:
    options = argparse.ArgumentParser(description="an agent whose model is a list of calls")
    options.add_argument("url")
    options.add_argument("calls", type=json.loads, help='[{"tool": NAME, "arguments": {...}}, ...]')
    options.add_argument("--errors", default="retry", help="what the framework makes of a tool's error: retry or failed")
    given = options.parse_args()

    model = Stubborn(given.calls)
    tools = MCPToolset(given.url, tool_error_behavior=given.errors, read_timeout=PATIENCE_S)
    agent = Agent(FunctionModel(model), toolsets=[tools])
    told: dict[str, Any] = {}
    try:
        told["said"] = (await agent.run("go through your list")).output
    except AgentRunError as error:
        told["died"] = f"{type(error).__name__}: {error}"
    print(json.dumps(told | {"shown": model.shown, "read": model.read}))


if __name__ == "__main__":
    asyncio.run(main())
