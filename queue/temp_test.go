package queue

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSweep_TakesWhatIsLeftAndNothingElse: what nobody is at work on, and is certainly a queue's.
func TestSweep_TakesWhatIsLeftAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "queue.db")
	image, err := os.ReadFile(goldenNow)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		content []byte
		mode    os.FileMode
		goes    bool
	}{
		".queue.db.new-1":    {image, 0o600, true},
		".queue.db.new-2":    {nil, 0o600, true}, // killed before anything was written
		"queue.db.new-3":     {image, 0o600, true},
		".2026-05-01.new-4":  {image, 0o600, true}, // a backup under another name
		".2026-05-01.new-5":  {image, 0o644, false},
		".letter.new-6":      {[]byte("dear shop"), 0o600, false},
		"2026-05-01.db":      {image, 0o600, false},
		"queue.db.2026-1":    {image, 0o600, false}, // what a restore has kept
		"another.db.new-age": {image, 0o600, false},
	} {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, tc.content, tc.mode); err != nil {
			t.Fatal(err)
		}
		sweep(path)
		if _, err := os.Lstat(at); (err != nil) != tc.goes {
			t.Errorf("%s: gone %v", name, err != nil)
		}
	}
	f, err := makeTemp(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(goldenNow, filepath.Join(dir, ".queue.db.new-link")); err != nil {
		t.Fatal(err)
	}
	if swept := sweep(path); len(swept) > 0 {
		t.Errorf("swept under the hands of its maker, or through a link: %v", swept)
	}
	f.Close()
	if swept := sweep(path); len(swept) != 1 || swept[0] != f.Name() {
		t.Errorf("its maker is gone, and swept is %v", swept)
	}
}
