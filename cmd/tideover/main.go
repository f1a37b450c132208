// Command tideover is the edge of Tideover: the daemon on a shop's router, and the technician's commands.
package main

import (
	"context"
	"os"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})) }
