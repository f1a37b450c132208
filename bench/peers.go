package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// peersSection builds and runs the program that measures the queue beside other stores.
func peersSection(ctx context.Context, m *measurement) (string, []verdict, error) {
	o := m.options
	if o.peers == "" {
		return "", nil, nil
	}
	cmd := exec.CommandContext(ctx, "go", "run", "-C", o.peers, ".",
		"-rounds", strconv.Itoa(o.rounds), "-each", o.each.String(), "-dir", o.dir)
	// SQLite takes fsync, which is dearer, where it is not told that there is fdatasync.
	cmd.Env = append(os.Environ(), "CGO_CFLAGS=-O2 -g -DHAVE_FDATASYNC=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", nil, fmt.Errorf("other stores: %w; -peers= leaves them out", err)
	}
	_, text, _ := strings.Cut(string(out), "\n") // its own heading
	return strings.TrimLeft(text, "\n"), nil, nil
}
