package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// peers builds and runs the program that measures the queue beside other stores, and returns its section of the document.
func peers(ctx context.Context, o options) (section string, err error) {
	if o.peers == "" {
		return "", nil
	}
	cmd := exec.CommandContext(ctx, "go", "run", "-C", o.peers, ".",
		"-rounds", strconv.Itoa(o.rounds), "-each", o.each.String(), "-dir", o.dir)
	// SQLite takes fsync, which is dearer, where it is not told that there is fdatasync.
	cmd.Env = append(os.Environ(), "CGO_CFLAGS=-O2 -g -DHAVE_FDATASYNC=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("other stores: %w; -peers= leaves them out", err)
	}
	return "\n" + string(out), nil
}
