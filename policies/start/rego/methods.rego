# What every client needs beside its tools. A method that no rule names is refused: what can read data or change it
# (resources, prompts, completions, input for tasks) waits for a rule that says which.
package agentgate.platform

# The session itself, and names of what there is: no data of the server's.
session_methods := {
	"initialize",
	"ping",
	"server/discover",
	"notifications/initialized",
	"notifications/cancelled",
	"notifications/progress",
	"notifications/roots/list_changed",
	"logging/setLevel",
	"subscriptions/listen",
	"open",
	"end",
}

list_methods := {
	"tools/list",
	"resources/list",
	"resources/templates/list",
	"prompts/list",
}

# What becomes of something that was allowed before: a task's progress and result, the end of either.
follow_up_methods := {
	"tasks/get",
	"tasks/result",
	"tasks/cancel",
	"resources/unsubscribe",
	"response",
}

# A call of a tool is none of these, and is most of what comes: it stops at the first line of each rule.
allow contains {"rule": "session", "reason": "part of every session"} if {
	not input.tool
	input.method in session_methods
}

allow contains {"rule": "list", "reason": "names what there is, and calls nothing"} if {
	not input.tool
	input.method in list_methods
}

allow contains {"rule": "follow_up", "reason": "goes on with what was allowed before"} if {
	not input.tool
	input.method in follow_up_methods
}
