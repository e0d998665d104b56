# An example of rules that look at arguments: the demonstration server `notes`. A deny here stands whatever the table says.
package agentgate.platform

deny contains {
	"rule": "forbidden_query",
	"reason": "notes are not searched for credentials",
	"scope": "read",
} if {
	input.server == "notes"
	input.tool == "search_notes"
	regex.match(`(?i)password|secret`, input.arguments.query)
}

# Said the other way round, so that a recipient who is missing is refused as well.
deny contains {
	"rule": "recipient_outside",
	"reason": "notes are sent within example.com only",
	"scope": "write",
} if {
	input.server == "notes"
	input.tool == "send_note"
	not recipient_inside
}

recipient_inside if regex.match(`(?i)^[a-z0-9._%+-]+@example\.com$`, input.arguments.to)
