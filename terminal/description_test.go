package terminal

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"tideover"
	"tideover/internal/openapi"
)

var update = flag.Bool("update", false, "write openapi.json.gz from openapi.json")

// compact returns openapi.json as it is embedded.
func compact(t *testing.T) []byte {
	t.Helper()
	written, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, written); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The description that is served is the one that people read and change, and is valid OpenAPI 3.1, each of its examples too.
func TestDescription_IsValidAndTheOneThatIsKept(t *testing.T) {
	kept := compact(t)
	if *update {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if _, err := z.Write(kept); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("openapi.json.gz", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Skip("nightly: openapi.json.gz was written; run the test again")
	}
	if !bytes.Equal(description(), kept) {
		t.Fatal("openapi.json.gz is not made of openapi.json: go test ./terminal -run Description -update")
	}
	d, err := openapi.Load(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); err != nil {
		t.Error(err)
	}
}

// Every route and method of the handler is described, and nothing else.
func TestDescription_HasEveryRoute(t *testing.T) {
	d, err := openapi.Load(compact(t))
	if err != nil {
		t.Fatal(err)
	}
	var served []openapi.Operation
	for path, rt := range routes {
		path = strings.ReplaceAll(path, "ID", "{id}")
		if rt.get != nil {
			served = append(served, openapi.Operation{Method: "GET", Path: path})
		}
		if rt.post != nil {
			served = append(served, openapi.Operation{Method: "POST", Path: path})
		}
	}
	all := d.Operations()
	for _, op := range served {
		if !slices.Contains(all, op) {
			t.Errorf("%s %s is served, and not described", op.Method, op.Path)
		}
	}
	for _, op := range all {
		if !slices.Contains(served, op) {
			t.Errorf("%s %s is described, and not served", op.Method, op.Path)
		}
	}
}

// Every code is described with its status, and nothing else.
func TestDescription_HasEveryCode(t *testing.T) {
	d, err := openapi.Load(compact(t))
	if err != nil {
		t.Fatal(err)
	}
	codes := d.Codes()
	for code, k := range kinds {
		if codes[string(code)] != k.status {
			t.Errorf("%s is answered %d, and described with %d", code, k.status, codes[string(code)])
		}
	}
	for code := range codes {
		if _, known := kinds[tideover.Code(code)]; !known {
			t.Errorf("%s is described, and never answered", code)
		}
	}
}

// A change that the description does not have is found: the checks above can fail.
func TestDescription_HoldsAnswersToIt(t *testing.T) {
	d, err := openapi.Load(compact(t))
	if err != nil {
		t.Fatal(err)
	}
	header := map[string][]string{"Content-Type": {"application/json"}, "Content-Language": {"en"}}
	well := `{"hub":"connected","uplink":"lo","pending":0,"accepting":true,"message":"","methods":[]}`
	if err := d.Answer("GET", "/v1/health", 200, header, []byte(well)); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		method, path string
		status       int
		body         string
	}{
		"a field more":        {"GET", "/v1/health", 200, strings.Replace(well, "{", `{"x":1,`, 1)},
		"a field less":        {"GET", "/v1/health", 200, strings.Replace(well, `"pending":0,`, "", 1)},
		"another type":        {"GET", "/v1/health", 200, strings.Replace(well, `0`, `"0"`, 1)},
		"another value":       {"GET", "/v1/health", 200, strings.Replace(well, "connected", "on", 1)},
		"another status":      {"GET", "/v1/health", 202, well},
		"another path":        {"GET", "/v1/none", 200, well},
		"a header is missing": {"GET", "/v1/transactions/y49p4j302d1d313cs3axahr7m0", 202, well},
		"another media type":  {"GET", "/v1/transactions", 429, well},
	} {
		if d.Answer(c.method, c.path, c.status, header, []byte(c.body)) == nil {
			t.Errorf("%s goes unseen", name)
		}
	}
}
