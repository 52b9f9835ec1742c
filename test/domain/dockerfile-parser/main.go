// Reads Dockerfiles as the engine's builders do. Each line of standard input is one, as a JSON string; each line of the answer says what
// the parser made of it.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

type instruction struct {
	Name     string   `json:"name"`
	Flags    []string `json:"flags"`
	Words    []string `json:"words"`
	IsList   bool     `json:"isList"`
	Original string   `json:"original"`
	Heredocs int      `json:"heredocs"`
	// Of FROM and COPY --from: the image or stage.
	Source string `json:"source"`
	Stage  string `json:"stage"`
	// Of COPY and ADD.
	Paths []string `json:"paths"`
}

type answer struct {
	Instructions []instruction `json:"instructions"`
	Escape       string        `json:"escape"`
	Syntax       string        `json:"syntax"`
	// Why the file is none.
	Error string `json:"error,omitempty"`
	// Why an instruction is none: the builders refuse the file.
	Refused string `json:"refused,omitempty"`
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for decoder := json.NewDecoder(in); decoder.More(); {
		var text string
		if err := decoder.Decode(&text); err != nil {
			panic(err)
		}
		if err := out.Encode(read(text)); err != nil {
			panic(err)
		}
	}
}

func read(text string) answer {
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return answer{Error: err.Error()}
	}
	found := answer{Escape: string(result.EscapeToken)}
	found.Syntax, _, _, _ = parser.DetectSyntax([]byte(text))
	for _, node := range result.AST.Children {
		one := instruction{
			Name:     strings.ToUpper(node.Value),
			Flags:    append([]string{}, node.Flags...),
			Words:    []string{},
			IsList:   node.Attributes["json"],
			Original: node.Original,
			Heredocs: len(node.Heredocs),
			Paths:    []string{},
		}
		for next := node.Next; next != nil; next = next.Next {
			one.Words = append(one.Words, next.Value)
		}
		parsed, err := instructions.ParseInstruction(node)
		if err != nil {
			found.Refused = err.Error()
		}
		switch known := parsed.(type) {
		case *instructions.Stage:
			one.Source, one.Stage = known.BaseName, known.Name
		case *instructions.CopyCommand:
			one.Source, one.Paths = known.From, known.SourcePaths
		case *instructions.AddCommand:
			one.Paths = known.SourcePaths
		}
		found.Instructions = append(found.Instructions, one)
	}
	return found
}
