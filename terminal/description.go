package terminal

import (
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// described is openapi.json without its white space, compressed: the router's flash is small. `go test ./terminal -run Description -update`
// writes it.
//
//go:embed openapi.json.gz
var described string

// description returns the API's own description, OpenAPI 3.1.
func description() json.RawMessage {
	z, err := gzip.NewReader(strings.NewReader(described))
	if err != nil {
		panic(err) // it is ours
	}
	body, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	return body
}

// describe answers with it: GET /v1/openapi.json.
func (x *exchange) describe() error {
	_ = x.write(http.StatusOK, "application/json", description())
	return nil
}
