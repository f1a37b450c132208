package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Example is a request that the document shows, and the status that it promises for it.
type Example struct {
	Operation
	Name   string
	URL    string // the path with its parameters
	Header http.Header
	Body   []byte
	Status int // 0: the document shows no answer under this name
}

// Examples lists the document's examples in the order of paths and names; each is made of what the parameters, the body and the answers
// show under the same name. An operation without any stands there with its bare path.
func (d *Description) Examples() (all []Example) {
	for _, op := range d.Operations() {
		names := map[string]bool{}
		operation := d.operation(op)
		parameters := d.parameters(op)
		for _, p := range parameters {
			collect(names, p)
		}
		body := dig(operation, "requestBody", "content", "application/json")
		collect(names, body)
		answers := map[string]int{}
		for status := range dig(operation, "responses") {
			a, _ := d.answer(op, status)
			for mediaType := range dig(a.response, "content") {
				shown := map[string]bool{}
				collect(shown, dig(a.response, "content", mediaType))
				for name := range shown {
					names[name] = true
					answers[name], _ = strconv.Atoi(status)
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			e := Example{Operation: op, Name: name, URL: op.Path, Header: http.Header{}, Status: answers[name]}
			query := url.Values{}
			for _, p := range parameters {
				value, shown := example(p, name)
				if !shown {
					continue
				}
				text := fmt.Sprint(value)
				switch p["in"] {
				case "path":
					e.URL = strings.ReplaceAll(e.URL, "{"+p["name"].(string)+"}", url.PathEscape(text))
				case "query":
					query.Set(p["name"].(string), text)
				case "header":
					e.Header.Set(p["name"].(string), text)
				}
			}
			if len(query) > 0 {
				e.URL += "?" + query.Encode()
			}
			if value, shown := example(body, name); shown {
				e.Body, _ = json.Marshal(value)
				e.Header.Set("Content-Type", "application/json")
			}
			all = append(all, e)
		}
	}
	return all
}

func collect(names map[string]bool, from map[string]any) {
	for name := range dig(from, "examples") {
		names[name] = true
	}
}

// example returns what is shown under a name, or where one example serves all.
func example(from map[string]any, name string) (any, bool) {
	one := dig(from, "examples", name)
	if value, ok := one["value"]; ok {
		return value, true
	}
	value, ok := from["example"]
	return value, ok
}

// parameters are those of an operation and of its path.
func (d *Description) parameters(op Operation) (all []map[string]any) {
	item, _ := dig(d.doc, "paths", op.Path)["parameters"].([]any)
	own, _ := d.operation(op)["parameters"].([]any)
	for _, p := range slices.Concat(item, own) {
		one, _ := p.(map[string]any)
		if ref, ok := one["$ref"].(string); ok {
			one = dig(d.doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
		all = append(all, one)
	}
	return all
}

// Check holds every example of the document to its own schema: parameters and answers are as described; so is a body, but for one that
// is answered 400.
func (d *Description) Check() error {
	examples := map[Operation]map[string]int{}
	for _, e := range d.Examples() {
		if examples[e.Operation] == nil {
			examples[e.Operation] = map[string]int{}
		}
		examples[e.Operation][e.Name] = e.Status
	}
	for op, byName := range examples {
		method := strings.ToLower(op.Method)
		for name, status := range byName {
			if value, shown := example(dig(d.operation(op), "requestBody", "content", "application/json"), name); shown {
				schema, err := d.compiler.Compile(pointer("paths", op.Path, method, "requestBody", "content", "application/json", "schema"))
				if err != nil {
					return err
				}
				if err := schema.Validate(value); (err == nil) == (status == http.StatusBadRequest) {
					return fmt.Errorf("%s %s: the body %s is answered %d, and its schema says %w", op.Method, op.Path, name, status, err)
				}
			}
			if status == 0 {
				continue
			}
			a, err := d.answer(op, strconv.Itoa(status))
			if err != nil {
				return err
			}
			for mediaType, schema := range a.schemas {
				value, shown := example(dig(a.response, "content", mediaType), name)
				if err := schema.Validate(value); shown && err != nil {
					return fmt.Errorf("%s %s: the answer %s: %w", op.Method, op.Path, name, err)
				}
			}
		}
	}
	return nil
}
