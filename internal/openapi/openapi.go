// Package openapi holds what a server says to its own OpenAPI 3.1 description. It serves tests alone: no program is linked with it.
//
// A [Description] is a document that was found to be valid OpenAPI 3.1, with every schema in it compiled. [Description.Answer] judges
// a real answer, [Description.Examples] yields the examples that the document shows, each with the status that it promises.
//
// Answers are held to more than the document says to its readers: a field that no schema names is an error here, while a till is to
// ignore it.
package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// metaSchema is https://spec.openapis.org/oas/3.1/schema/2022-10-07, of the OpenAPI Initiative, under the Apache License 2.0.
//
//go:embed oas-3.1.json
var metaSchema []byte

// at is where the document is, for references inside of it.
const at = "https://tideover.invalid/openapi.json"

// Description is an API's description.
type Description struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

// Operation is one method of one path.
type Operation struct{ Method, Path string }

// Load reads a description. It is an error where the document is no OpenAPI 3.1, or holds a schema that is none.
func Load(document []byte) (*Description, error) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	doc, ok := parsed.(map[string]any)
	if !ok {
		return nil, errors.New("the document is no object")
	}
	if err := validate(doc); err != nil {
		return nil, err
	}
	d := &Description{doc: doc, compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	for _, schema := range dig(doc, "components", "schemas") {
		strict(schema)
	}
	if err := d.compiler.AddResource(at, doc); err != nil {
		return nil, err
	}
	return d, d.compileAll()
}

// validate holds a document to the schema of OpenAPI 3.1.
func validate(doc map[string]any) error {
	meta, err := jsonschema.UnmarshalJSON(bytes.NewReader(metaSchema))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	const name = "https://spec.openapis.org/oas/3.1/schema/2022-10-07"
	if err := c.AddResource(name, meta); err != nil {
		return err
	}
	schema, err := c.Compile(name)
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}

// strict lets an object have no fields beside those that are named.
func strict(schema any) {
	s, ok := schema.(map[string]any)
	if _, object := s["properties"]; !ok || !object {
		return
	}
	_, said := s["additionalProperties"]
	if _, more := s["$ref"]; !said && !more {
		s["additionalProperties"] = false
	}
}

// dig goes down by keys; nil where there is nothing.
func dig(v any, keys ...string) map[string]any {
	for _, key := range keys {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	m, _ := v.(map[string]any)
	return m
}

// pointer makes a JSON pointer, as a fragment.
func pointer(keys ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D")
	for i, key := range keys {
		keys[i] = escape.Replace(key)
	}
	return at + "#/" + strings.Join(keys, "/")
}

// compileAll finds every schema that is none.
func (d *Description) compileAll() error {
	for name := range dig(d.doc, "components", "schemas") {
		if _, err := d.compiler.Compile(pointer("components", "schemas", name)); err != nil {
			return err
		}
	}
	for _, op := range d.Operations() {
		for status := range dig(d.operation(op), "responses") {
			if _, err := d.answer(op, status); err != nil {
				return err
			}
		}
	}
	return nil
}

// methods are those of a path item.
var methods = []string{"get", "post", "put", "delete", "patch"}

// Operations lists what is described.
func (d *Description) Operations() (all []Operation) {
	for path, item := range dig(d.doc, "paths") {
		for _, method := range methods {
			if dig(item, method) != nil {
				all = append(all, Operation{strings.ToUpper(method), path})
			}
		}
	}
	slices.SortFunc(all, func(a, b Operation) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	return all
}

func (d *Description) operation(op Operation) map[string]any {
	return dig(d.doc, "paths", op.Path, strings.ToLower(op.Method))
}

// Codes returns the problem codes of the document with their statuses.
func (d *Description) Codes() map[string]int {
	all := map[string]int{}
	list, _ := dig(d.doc, "components", "schemas", "Code")["oneOf"].([]any)
	for _, one := range list {
		m, _ := one.(map[string]any)
		code, _ := m["const"].(string)
		title, _ := m["title"].(string)
		all[code], _ = strconv.Atoi(title)
	}
	return all
}

// Find returns the operation that a request is for, and false where none is described.
func (d *Description) Find(method, path string) (Operation, bool) {
	path, _, _ = strings.Cut(path, "?")
	if method == http.MethodHead {
		method = http.MethodGet
	}
	parts := strings.Split(path, "/")
	for _, op := range d.Operations() {
		if op.Method == method && slices.EqualFunc(parts, strings.Split(op.Path, "/"), func(is, described string) bool {
			return is == described || is != "" && strings.HasPrefix(described, "{")
		}) {
			return op, true
		}
	}
	return Operation{}, false
}

// answer returns the description of an operation's answer, and where it stands.
type described struct {
	response map[string]any
	at       []string
	schemas  map[string]*jsonschema.Schema // by media type
}

func (d *Description) answer(op Operation, status string) (described, error) {
	where := []string{"paths", op.Path, strings.ToLower(op.Method), "responses", status}
	response := dig(d.doc, where...)
	if op == (Operation{}) { // of a path or a method that there is not
		where = []string{"components", "responses", status}
		response = dig(d.doc, where...)
	}
	if ref, ok := response["$ref"].(string); ok {
		where = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		response = dig(d.doc, where...)
	}
	if response == nil {
		return described{}, fmt.Errorf("%s %s: an answer of %s is not described", op.Method, op.Path, status)
	}
	a := described{response, where, map[string]*jsonschema.Schema{}}
	for mediaType := range dig(response, "content") {
		schema, err := d.compiler.Compile(pointer(append(slices.Clone(where), "content", mediaType, "schema")...))
		if err != nil {
			return described{}, err
		}
		a.schemas[mediaType] = schema
	}
	return a, nil
}

// Answer says in what an answer differs from its description; nil where in nothing. The body of a stream is not looked at.
func (d *Description) Answer(method, path string, status int, header http.Header, body []byte) error {
	op, ok := d.Find(method, path)
	if !ok && status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
		return fmt.Errorf("%s %s is not described", method, path)
	}
	if status == http.StatusMethodNotAllowed {
		op = Operation{}
	}
	a, err := d.answer(op, strconv.Itoa(status))
	if err != nil {
		return err
	}
	if err := d.headers(a, header); err != nil {
		return err
	}
	mediaType := header.Get("Content-Type")
	schema, ok := a.schemas[mediaType]
	switch {
	case len(a.schemas) == 0 && len(body) == 0, method == http.MethodHead && len(body) == 0:
		return nil
	case !ok:
		return fmt.Errorf("%s %s, %d: %q is not described", method, path, status, mediaType)
	case mediaType == "text/event-stream":
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w in %s", err, body)
	}
	if err := schema.Validate(v); err != nil {
		return fmt.Errorf("%s %s, %d: %w in %s", method, path, status, err, body)
	}
	return nil
}

// headers holds an answer's headers to those that are described.
func (d *Description) headers(a described, header http.Header) error {
	for name, h := range dig(a.response, "headers") {
		where := slices.Concat(a.at, []string{"headers", name})
		one, _ := h.(map[string]any)
		if ref, ok := one["$ref"].(string); ok {
			where = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
			one = dig(d.doc, where...)
		}
		name = strings.TrimSuffix(name, "-Perhaps")
		text := header.Get(name)
		if required, _ := one["required"].(bool); text == "" && required {
			return fmt.Errorf("the header %s is missing", name)
		} else if text == "" {
			continue
		}
		schema, err := d.compiler.Compile(pointer(append(where, "schema")...))
		if err != nil {
			return err
		}
		var v any = text
		if dig(one, "schema")["type"] == "integer" {
			v = json.Number(text)
		}
		if err := schema.Validate(v); err != nil {
			return fmt.Errorf("the header %s: %w", name, err)
		}
	}
	return nil
}
