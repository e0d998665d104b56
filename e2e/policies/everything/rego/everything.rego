# For the stories that ask only what can be read: whatever was read is allowed.
package agentgate.platform

allow contains {"rule": "everything", "reason": "all that can be read"} if input.method
