# A policy about people: one user may call, whatever agent calls for them, and nobody else.
package agentgate.platform

allow contains {"rule": "alice", "reason": "alice may call"} if {
	input.user == "alice"
	input.agent
}

deny contains {"rule": "not_alice", "reason": "only alice may call"} if input.user != "alice"
