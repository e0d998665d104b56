# A refusal that looks at arguments: a client that was shown the tool still calls it, and hears why not.
package agentgate.platform

deny contains {
	"rule": "forbidden_echo",
	"reason": "credentials are not repeated",
	"scope": "read",
} if {
	input.server == "everything"
	input.tool == "echo"
	regex.match(`(?i)password`, input.arguments.message)
}
