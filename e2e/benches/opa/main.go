// The usual way to gate tool calls, to be measured beside AgentGate: Envoy's ext_authz asks this server, which has OPA in it as a
// library, over a UNIX socket. It decides by AgentGate's default policy, the same Rego and the same table.
//
// It is for `just bench` alone and refuses to be a gate: it reads JSON as Go does (of two equal keys the last one counts), keeps
// no record, writes no decision log, and knows one server by name.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// server answers Envoy. What it cannot read or decide is denied.
type server struct {
	authv3.UnimplementedAuthorizationServer
	policy *policy
}

func main() {
	folder := flag.String("policies", "policies/default", "the policy folder: rego/*.rego and tools.yaml")
	name := flag.String("server", "notes", "what the tool table calls the server behind this gate")
	socket := flag.String("socket", "opa.sock", "where to listen")
	flag.Parse()

	policy, err := load(context.Background(), *folder, *name)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		log.Fatal(err)
	}
	serving := grpc.NewServer()
	authv3.RegisterAuthorizationServer(serving, &server{policy: policy})
	log.Fatal(serving.Serve(listener))
}

// Check is Envoy's question: may this request go on?
func (s *server) Check(ctx context.Context, asked *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	call, err := read(asked.GetAttributes().GetRequest().GetHttp().GetRawBody())
	if err != nil {
		return denied(nil, verdict{Verdict: "deny", Rule: "gate.malformed", Reason: err.Error()})
	}
	made, err := s.policy.decide(ctx, call)
	if err != nil {
		return denied(call.id, verdict{Verdict: "deny", Rule: "gate.policy_failed", Reason: err.Error()})
	}
	if made.Verdict != "allow" {
		return denied(call.id, made)
	}
	return &authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(codes.OK)}}, nil
}

// The answer stands where AgentGate's stands in a JSON-RPC error, so that the bench reads both alike.
func denied(id any, made verdict) (*authv3.CheckResponse, error) {
	body, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0",
		"id":      id,
		"error":   map[string]any{"code": 403, "message": made.Reason, "data": map[string]any{"agentgate/verdict": made}},
	})
	if err != nil {
		return nil, err
	}
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode_Forbidden},
			Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "content-type", Value: "application/json"}}},
			Body:    string(body),
		}},
	}, nil
}
