// The default policy in OPA: a query that is prepared once and asked for every call. It refuses to start without Rego or table.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

//go:embed verdict.rego
var resolving string

type policy struct {
	query  rego.PreparedEvalQuery
	server *ast.Term
}

// verdict is what the policy says of one call, in AgentGate's words.
type verdict struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
}

// call is what the policy looks at, and the id that an answer needs.
type call struct {
	id              any
	method          string
	tool, arguments ast.Value
}

func load(ctx context.Context, folder, server string) (*policy, error) {
	written, err := os.ReadFile(filepath.Join(folder, "tools.yaml"))
	if err != nil {
		return nil, err
	}
	var tools any
	if err := util.Unmarshal(written, &tools); err != nil {
		return nil, fmt.Errorf("tools.yaml: %w", err)
	}
	// A value that OPA need not convert for each call: of its two ways to hold data the faster one.
	table := inmem.NewFromObjectWithOpts(map[string]any{"tools": tools}, inmem.OptReturnASTValuesOnRead(true))
	options := []func(*rego.Rego){
		rego.Query("data.bench.verdict"),
		rego.Module("verdict.rego", resolving),
		rego.Store(table),
		// As AgentGate's engine: a builtin that fails is an error, and the call is denied.
		rego.StrictBuiltinErrors(true),
	}
	files, err := filepath.Glob(filepath.Join(folder, "rego", "*.rego"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no rego/*.rego in `%s`", folder)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		options = append(options, rego.Module(file, string(text)))
	}
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	return &policy{query: query, server: ast.StringTerm(server)}, nil
}

// read takes a JSON-RPC message apart.
func read(body []byte) (call, error) {
	var message map[string]any
	if err := util.UnmarshalJSON(body, &message); err != nil {
		return call{}, err
	}
	method, named := message["method"].(string)
	if !named {
		return call{}, errors.New("the message has no method")
	}
	read := call{id: message["id"], method: method}
	if method != "tools/call" {
		return read, nil
	}
	params, _ := message["params"].(map[string]any)
	tool, named := params["name"].(string)
	if !named {
		return call{}, errors.New("the call names no tool")
	}
	arguments, written := params["arguments"]
	if !written {
		arguments = map[string]any{}
	}
	value, err := ast.InterfaceToValue(arguments)
	if err != nil {
		return call{}, err
	}
	read.tool, read.arguments = ast.String(tool), value
	return read, nil
}

func (p *policy) decide(ctx context.Context, asked call) (verdict, error) {
	input := ast.NewObject(
		[2]*ast.Term{ast.StringTerm("server"), p.server},
		[2]*ast.Term{ast.StringTerm("method"), ast.StringTerm(asked.method)},
	)
	if asked.tool != nil {
		input.Insert(ast.StringTerm("tool"), ast.NewTerm(asked.tool))
		input.Insert(ast.StringTerm("arguments"), ast.NewTerm(asked.arguments))
	}
	results, err := p.query.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return verdict{}, err
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return verdict{}, errors.New("the policy says nothing")
	}
	said, ok := results[0].Expressions[0].Value.(map[string]any)
	if !ok {
		return verdict{}, errors.New("the policy says something that is no verdict")
	}
	made, _ := said["verdict"].(string)
	rule, _ := said["rule"].(string)
	reason, _ := said["reason"].(string)
	return verdict{Verdict: made, Rule: rule, Reason: reason}, nil
}
