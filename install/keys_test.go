package install

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// keysDir is a state directory with a key as an enrolment has made it.
func keysDir(t *testing.T) (dir string, key [secretSize]byte) {
	t.Helper()
	dir, key = t.TempDir(), [secretSize]byte{5: 7}
	check(t, os.WriteFile(QueueKeyPath(dir), key[:], 0o600))
	return dir, key
}

func keysOf(t *testing.T, dir string) QueueKeys {
	t.Helper()
	k, err := ReadQueueKeys(dir)
	check(t, err)
	return k
}

func TestQueueKeys_TheNewestIsInFront(t *testing.T) {
	dir, first := keysDir(t)
	if k := keysOf(t, dir); !reflect.DeepEqual(k, QueueKeys{All: [][secretSize]byte{first}}) {
		t.Fatalf("%v", k)
	}
	two, err := AddQueueKey(dir)
	check(t, err)
	three, err := AddQueueKey(dir)
	check(t, err)
	if len(three.All) != 3 || three.All[2] != first || three.All[1] != two.All[0] || three.All[0] == two.All[0] || !reflect.DeepEqual(three, keysOf(t, dir)) {
		t.Fatalf("%v, %v", two, three)
	}
	info, err := os.Stat(QueueKeyPath(dir))
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	name := [secretSize]byte{1: 1}
	for range 2 { // the second time there is nothing to do
		check(t, DestroyQueueKeys(dir, map[[secretSize]byte][secretSize]byte{first: name, three.All[0]: {2: 2}}))
		if k := keysOf(t, dir); !reflect.DeepEqual(k, QueueKeys{All: three.All[:2], Destroyed: [][secretSize]byte{name}}) {
			t.Fatalf("%v", k)
		}
	}
	b, err := os.ReadFile(QueueKeyPath(dir))
	check(t, err)
	if strings.Contains(string(b), "00000000000700") {
		t.Error("the destroyed key is in the file")
	}
}

// TestDestroyQueueKeys_OverwritesTheOldFile: whoever has the old file open reads no key in it any more.
func TestDestroyQueueKeys_OverwritesTheOldFile(t *testing.T) {
	dir, first := keysDir(t)
	_, err := AddQueueKey(dir)
	check(t, err)
	old, err := os.Open(QueueKeyPath(dir))
	check(t, err)
	defer old.Close()
	check(t, os.WriteFile(filepath.Join(dir, fileQueueKeyNew), []byte("what a killed process has left"), 0o600))
	check(t, DestroyQueueKeys(dir, map[[secretSize]byte][secretSize]byte{first: {1}}))
	b := make([]byte, 1<<10)
	n, _ := old.ReadAt(b, 0)
	if n == 0 || strings.Trim(string(b[:n]), "\x00") != "" {
		t.Errorf("%q", b[:n])
	}
	if _, err := os.Stat(filepath.Join(dir, fileQueueKeyNew)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file beside it: %v", err)
	}
}

func TestQueueKeys_Limits(t *testing.T) {
	dir, _ := keysDir(t)
	for range QueueKeysMax - 1 {
		_, err := AddQueueKey(dir)
		check(t, err)
	}
	_, err := AddQueueKey(dir)
	wants(t, err, ErrTooManyKeys)
	if k := keysOf(t, dir); len(k.All) != QueueKeysMax {
		t.Errorf("%d keys", len(k.All))
	}
	many := QueueKeys{All: [][secretSize]byte{{1}, {2}}}
	for i := range destroyedMax {
		many.Destroyed = append(many.Destroyed, [secretSize]byte{byte(i), byte(i >> 8)})
	}
	b, err := many.encode()
	check(t, err)
	check(t, os.WriteFile(QueueKeyPath(dir), b, 0o600))
	check(t, DestroyQueueKeys(dir, map[[secretSize]byte][secretSize]byte{{2}: {31: 1}}))
	want := append(many.Destroyed[1:], [secretSize]byte{31: 1})
	if k := keysOf(t, dir); !reflect.DeepEqual(k.Destroyed, want) {
		t.Errorf("%d destroyed, the last %v", len(k.Destroyed), k.Destroyed[len(k.Destroyed)-1])
	}
}

func TestReadQueueKeys_TellsDamage(t *testing.T) {
	good := strings.Repeat("0a", secretSize)
	for name, text := range map[string]string{
		"empty":         "",
		"cut":           strings.Repeat("k", 31),
		"two in a row":  strings.Repeat("k", 64),
		"not JSON":      `{"version":2,"keys":[`,
		"more behind":   `{"version":2,"keys":["` + good + `"],"destroyed":[]} {}`,
		"a strange key": `{"version":2,"keys":["` + good + `"],"destroyed":[],"color":"red"}`,
		"no key":        `{"version":2,"keys":[],"destroyed":[]}`,
		"a short one":   `{"version":2,"keys":["0a"],"destroyed":[]}`,
		"not hex":       `{"version":2,"keys":["` + strings.Repeat("xy", secretSize) + `"],"destroyed":[]}`,
		"no version":    `{"keys":["` + good + `"],"destroyed":[]}`,
		"a newer one":   `{"version":3,"keys":["` + good + `"],"destroyed":[],"color":"red"}`,
		"too many":      tooManyKeys(t, good),
		"very long":     `{` + strings.Repeat(" ", queueKeysFileMax) + `}`,
	} {
		dir := t.TempDir()
		check(t, os.WriteFile(QueueKeyPath(dir), []byte(text), 0o600))
		_, err := ReadQueueKeys(dir)
		wants(t, err, ErrDamaged)
		if e, _ := errors.AsType[*Error](err); strings.Contains(e.What.En+e.What.Zh+err.Error(), good) {
			t.Errorf("%s: a key is told", name)
		}
		if _, err := AddQueueKey(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: add: %v", name, err)
		}
		if b, _ := os.ReadFile(QueueKeyPath(dir)); string(b) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	dir, _ := keysDir(t)
	check(t, os.Chmod(QueueKeyPath(dir), 0o644))
	_, err := ReadQueueKeys(dir)
	wants(t, err, ErrExposed)
}

func tooManyKeys(t *testing.T, good string) string {
	f := queueKeysFile{Version: queueKeysVersion, Destroyed: []string{}}
	for range QueueKeysMax + 1 {
		f.Keys = append(f.Keys, good)
	}
	b, err := json.Marshal(f)
	check(t, err)
	return string(b)
}

// TestEnroll_KeepsEveryKey: an enrolment over an earlier one keeps all that opens the journal.
func TestEnroll_KeepsEveryKey(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := t.TempDir()
	_, err := enroll(t, dir, h.token.String())
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, fileQueue), []byte("a journal"), 0o600))
	kept, err := AddQueueKey(dir)
	check(t, err)
	again, err := enroll(t, dir, h.token.String())
	check(t, err)
	if !reflect.DeepEqual(again.QueueKeys, kept) {
		t.Errorf("%v; had %v", again.QueueKeys, kept)
	}
}
