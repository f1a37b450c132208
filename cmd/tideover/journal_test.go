package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tideover/control"
)

// What the program says of a small journal whose bytes are changed in turn, one at a time: that it does not verify, or that it is no journal; or the
// very same, where the byte lay where nothing is kept.
func TestVerifyJournal_EveryByte(t *testing.T) {
	image, err := os.ReadFile("../../queue/testdata/queue-1.db")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func() (int, control.Journal, string) {
		var j control.Journal
		status, out, words := call(t, "journal", "verify", path, "--json")
		if status != exitFailed {
			if err := json.Unmarshal([]byte(out), &j); err != nil {
				t.Fatalf("%v: %s%s", err, out, words)
			}
		}
		return status, j, words
	}
	status, honest, words := verify()
	if status != exitWell || !honest.Verified || honest.Transactions != 6 || honest.Newer != honest.Entries {
		t.Fatalf("status %d, %+v, %s", status, honest, words)
	}
	anchor := []string{"journal", "verify", path, "--lang", "zh", "--anchor"}
	if status, out, _ := call(t, append(anchor, strings.Join([]string{"7", honest.Head}, ":"))...); status != exitRefused || !strings.Contains(out, "日志校验不通过") {
		t.Errorf("a head that it does not have: status %d, %s", status, out)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := 0
	for at, is := range image {
		if _, err := f.WriteAt([]byte{is ^ 1<<rand.IntN(8)}, int64(at)); err != nil {
			t.Fatal(err)
		}
		status, j, words := verify()
		switch {
		case status == exitRefused && !j.Verified && len(j.Flaws) == 1, status == exitFailed && strings.Contains(words, "hint: "):
			found++
		case status != exitWell || !j.Verified || j.Head != honest.Head || j.Entries != honest.Entries:
			t.Fatalf("byte %d: status %d, %+v, %s", at, status, j, words)
		}
		if _, err := f.WriteAt(image[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if found < len(image)/4 {
		t.Errorf("only %d changes of %d bytes were found", found, len(image))
	}
	t.Logf("%d bytes: %d changes found", len(image), found)
}
