// Command tideover-hub is the head end that shops' edges talk to, and its administration.
package main

import (
	"context"
	"os"

	"tideover/hub"
)

func main() {
	os.Exit(hub.Main(context.Background(), os.Args[1:], hub.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
