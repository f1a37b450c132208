//go:build die

// Package die, armed: see die.go.
package die

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	armed, after = parse(os.Getenv("TIDEOVER_DIE"))
	reached      atomic.Int64
)

func parse(s string) (point string, n int64) {
	point, count, ok := strings.Cut(s, ":")
	if n, _ = strconv.ParseInt(count, 10, 64); !ok || n < 1 {
		n = 1
	}
	return point, n
}

// At ends the process by SIGKILL if point is the armed one and this is the armed time that it is reached.
func At(point string) {
	if point == armed && reached.Add(1) == after {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// Armed says whether a point is the armed one.
func Armed(point string) bool { return point == armed }

// lingerMax is longer than a hub on the same machine takes for a transaction.
const lingerMax = 30 * time.Millisecond

// Linger lets what has left go as far as it may: another way each time.
func Linger() { time.Sleep(rand.N(lingerMax)) }
