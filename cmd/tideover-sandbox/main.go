// Tideover-sandbox runs a whole shop on one machine and tells what becomes of its sales; see tideover/sandbox.
package main

import (
	"context"
	"os"

	"tideover/sandbox"
)

func main() {
	os.Exit(sandbox.Main(context.Background(), os.Args[1:], sandbox.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
