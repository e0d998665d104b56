// The transparency log's oracle: what Go's own tools (golang.org/x/mod/sumdb) say of the same tree, the same notes and the same
// proofs. It reads one question from standard input, as JSON, and writes one answer.
//
// It is for tests alone, and knows nothing of AgentGate: leaves are bytes to it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// question: leaves are hashed into a tree; notes are opened with the verifier's key; what we proved is checked.
type question struct {
	Leaves   [][]byte   `json:"leaves"`
	Signer   string     `json:"signer"`
	Verifier string     `json:"verifier"`
	Sign     []string   `json:"sign"`
	Open     []string   `json:"open"`
	Included []included `json:"included"`
	Grown    []grown    `json:"grown"`
	Changed  [][2]int64 `json:"changed"`
}

type included struct {
	Size  int64       `json:"size"`
	Index int64       `json:"index"`
	Proof []tlog.Hash `json:"proof"`
}

type grown struct {
	Old   int64       `json:"old"`
	New   int64       `json:"new"`
	Proof []tlog.Hash `json:"proof"`
}

// answer: what Go makes of the same, and for each check an empty text, or why it does not hold.
type answer struct {
	Roots    []tlog.Hash       `json:"roots"`
	Tiles    map[string][]byte `json:"tiles"`
	Signed   []string          `json:"signed"`
	Opened   []string          `json:"opened"`
	Included []checked         `json:"included"`
	Grown    []checked         `json:"grown"`
	Changed  [][]string        `json:"changed"`
}

type checked struct {
	Wrong string      `json:"wrong"`
	Proof []tlog.Hash `json:"proof"`
}

// hashes of a tree, by their numbers.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	read := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(h)) {
			return nil, errors.New("no such hash")
		}
		read[i] = h[index]
	}
	return read, nil
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	made, err := reply(asked)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(made); err != nil {
		log.Fatal(err)
	}
}

func reply(asked question) (made answer, err error) {
	var tree hashes
	made.Roots = []tlog.Hash{}
	for i, leaf := range asked.Leaves {
		stored, err := tlog.StoredHashes(int64(i), leaf, tree)
		if err != nil {
			return made, err
		}
		tree = append(tree, stored...)
		root, err := tlog.TreeHash(int64(i)+1, tree)
		if err != nil {
			return made, err
		}
		made.Roots = append(made.Roots, root)
	}
	if made.Tiles, err = tiles(tree, int64(len(asked.Leaves))); err != nil {
		return made, err
	}
	for _, sizes := range asked.Changed {
		paths := []string{}
		for _, tile := range tlog.NewTiles(8, sizes[0], sizes[1]) {
			paths = append(paths, path(tile))
		}
		made.Changed = append(made.Changed, paths)
	}
	if err := made.notes(asked); err != nil {
		return made, err
	}
	return made, made.proofs(asked, tree)
}

// The specification's path has no height in it.
func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

func tiles(tree hashes, size int64) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, tile := range tlog.NewTiles(8, 0, size) {
		data, err := tlog.ReadTileData(tile, tree)
		if err != nil {
			return nil, err
		}
		all[path(tile)] = data
	}
	return all, nil
}

func (made *answer) notes(asked question) error {
	signer, err := note.NewSigner(asked.Signer)
	if err != nil {
		return fmt.Errorf("the signer's key: %w", err)
	}
	verifier, err := note.NewVerifier(asked.Verifier)
	if err != nil {
		return fmt.Errorf("the verifier's key: %w", err)
	}
	for _, text := range asked.Sign {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			return err
		}
		made.Signed = append(made.Signed, string(signed))
	}
	for _, signed := range asked.Open {
		opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
		if err != nil {
			made.Opened = append(made.Opened, "refused: "+err.Error())
		} else {
			made.Opened = append(made.Opened, opened.Text)
		}
	}
	return nil
}

func (made *answer) proofs(asked question, tree hashes) error {
	for _, one := range asked.Included {
		proof, err := tlog.ProveRecord(one.Size, one.Index, tree)
		if err != nil {
			return err
		}
		leaf := tlog.RecordHash(asked.Leaves[one.Index])
		held := tlog.CheckRecord(one.Proof, one.Size, made.Roots[one.Size-1], one.Index, leaf)
		made.Included = append(made.Included, checked{words(held), proof})
	}
	for _, one := range asked.Grown {
		proof, err := tlog.ProveTree(one.New, one.Old, tree)
		if err != nil {
			return err
		}
		held := tlog.CheckTree(one.Proof, one.New, made.Roots[one.New-1], one.Old, made.Roots[one.Old-1])
		made.Grown = append(made.Grown, checked{words(held), proof})
	}
	return nil
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
