package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tideover/internal/lab/disk"
)

// TestMain lets the test's own executable be the shop's hub and edge.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == asHub || os.Args[1] == asEdge) {
		os.Exit(Main(context.Background(), os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	disk.Private()
	status := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// built holds the programs that tests have built, each once.
var built struct {
	mu   sync.Mutex
	dir  string
	done map[string]error
}

// program builds one of cmd's programs with further arguments of go build, and returns where it is.
func build(t *testing.T, name string, args ...string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.done == nil {
		dir, err := os.MkdirTemp("", "tideover-built-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.done = dir, map[string]error{}
	}
	variant := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz", r) {
			return r
		}
		return '-'
	}, strings.Join(args, ""))
	path := filepath.Join(built.dir, name+variant[:min(len(variant), 40)])
	if _, done := built.done[path]; !done {
		cmd := exec.Command("go", append(append([]string{"build", "-buildvcs=false", "-o", path}, args...), "./cmd/"+name)...)
		cmd.Dir = ".."
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
		built.done[path] = err
	}
	if err := built.done[path]; err != nil {
		t.Fatal(err)
	}
	return path
}
