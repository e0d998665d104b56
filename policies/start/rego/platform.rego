# The platform's policy: the tool table says who may call what. It names no server and no tool of its own.
package agentgate.platform

# What the table says of the tool that is called. Undefined when it says nothing.
entry := data.tools[input.server][input.tool]

deny contains {
	"rule": "unknown_tool",
	"reason": sprintf("the tool table has no `%s` of the server `%s`", [input.tool, input.server]),
} if {
	input.method == "tools/call"
	not entry
}

deny contains {
	"rule": "tool_blocked",
	"reason": sprintf("`%s` is blocked for everyone", [input.tool]),
	"scope": entry.scope,
} if {
	entry.tag == "blocked"
}

require_approval contains {
	"rule": "tool_gated",
	"reason": sprintf("each call of `%s` has to be granted by a person", [input.tool]),
	"scope": entry.scope,
} if {
	entry.tag == "gated"
}

allow contains {
	"rule": "tool_open",
	"reason": sprintf("`%s` is open to everyone", [input.tool]),
	"scope": entry.scope,
} if {
	entry.tag == "open"
}

# A list does not show what is refused whatever its arguments.
hidden contains tool if {
	some tool in input.list.tools
	not data.tools[input.server][tool]
}

hidden contains tool if {
	some tool in input.list.tools
	data.tools[input.server][tool].tag == "blocked"
}
