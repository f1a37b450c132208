package sandbox

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clockOffset is the variable by which a program built with [shiftedClock] is told how many seconds its wall clock is off.
const clockOffset = "CLOCK_OFFSET_SECONDS"

// shiftedClock returns arguments of go build that give a program a wall clock of its own choosing: time.Now of the standard library is
// replaced by one that adds an offset. Everything else, the monotonic and the boot-time clock included, is as in the product. Time
// namespaces do not shift the wall clock, and a preloaded library does not reach Go's.
func shiftedClock(t *testing.T) []string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), now) != 1 {
		t.Fatalf("%s: time.Now is not as this test knows it; adapt shiftedClock", source)
	}
	shifted := strings.Replace(string(text), now, now+"\tsec += clockOffset\n", 1) + `
var clockOffset = func() (offset int64) {
	text, _ := syscall.Getenv("` + clockOffset + `")
	negative := false
	for i, c := range []byte(text) {
		if i == 0 && c == '-' {
			negative = true
			continue
		}
		offset = 10*offset + int64(c-'0')
	}
	if negative {
		return -offset
	}
	return offset
}()
`
	shifted = strings.Replace(shifted, "import (", "import (\n\t\"syscall\"", 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "time.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: file}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	for name, b := range map[string][]byte{file: []byte(shifted), list: overlay} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"-overlay", list}
}
