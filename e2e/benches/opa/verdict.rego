# How AgentGate makes one verdict of what the rules say: a deny stands against all, then an approval, then an allow. Without any
# of them the call is denied.
package bench

import data.agentgate.platform

verdict := said("deny", platform.deny) if {
	count(platform.deny) > 0
} else := said("pending", platform.require_approval) if {
	count(platform.require_approval) > 0
} else := said("allow", platform.allow) if {
	count(platform.allow) > 0
} else := {"verdict": "deny", "rule": "gate.unmatched", "reason": "no rule says anything about it"}

# In the words of the first of them.
said(made, findings) := {"verdict": made, "rule": first.rule, "reason": first.reason} if {
	first := [finding | some finding in findings][0]
}
