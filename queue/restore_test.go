package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// restorable makes a folder with a journal of eight transactions, and a copy of it from when it had five.
func restorable(t *testing.T) (path, from string) {
	t.Helper()
	s := newShop(t)
	from = filepath.Join(filepath.Dir(s.path), "copy")
	for i := range 8 {
		s.accept(draft("till-0", fmt.Sprint("k", i)))
		if i == 4 {
			if _, err := s.q.Backup(t.Context(), from); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := RestoreFile(from, s.path, testKey, testStore); !errors.Is(err, ErrInUse) {
		t.Fatalf("under a running queue: %v", err)
	}
	s.close()
	return s.path, from
}

// TestRestoreFile_KeepsWhatWasThere, marks the journal above all that the lost one has told, and takes nothing that is not whole.
func TestRestoreFile_KeepsWhatWasThere(t *testing.T) {
	path, from := restorable(t)
	before, copied := contentOf(t, path), contentOf(t, from)
	lost, err := VerifyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreFile(from, path, OneKey([32]byte{9}), testStore); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	image, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte(strings.ReplaceAll(string(image), "till", "tilt")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreFile(bad, path, testKey, testStore); !errors.Is(err, ErrDamaged) || contentOf(t, path) != before {
		t.Errorf("of a damaged copy: %v", err)
	}
	r, err := RestoreFile(from, path, testKey, testStore)
	if err != nil || r.Transactions != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	if contentOf(t, r.Aside) != before || contentOf(t, from) != copied {
		t.Error("the file that was there is not what it was, or the copy is not")
	}
	check(t, path)
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if seq, _ := q.Head(); !q.Gap() || q.OpenOfCopy() != 5 || seq <= lost.Head.Seq+seqStep {
		t.Errorf("gap %v, %d open of the copy, head %d beside %d", q.Gap(), q.OpenOfCopy(), seq, lost.Head.Seq)
	}
}

// mortal builds this test so that it can be killed at a point.
func mortal(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "queue.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "die", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// TestBackupFile_DiesAnywhere: under its name there is a whole copy or none, and the journal is as it was.
func TestBackupFile_DiesAnywhere(t *testing.T) {
	binary := mortal(t)
	for point, there := range map[string]bool{"before": false, "renamed": true, "after": true} {
		path, _ := restorable(t)
		before := contentOf(t, path)
		to := path + ".backup"
		child := exec.Command(binary, "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_QUEUE_BACKUP="+path, "TIDEOVER_DIE=queue.backup."+point)
		if out, err := child.CombinedOutput(); err == nil || child.ProcessState.ExitCode() != -1 {
			t.Fatalf("%s: it was not killed: %v %s", point, err, out)
		}
		c, err := CheckFile(to, testKey, testStore)
		switch {
		case there && (err != nil || len(c.Flaws) > 0 || c.Transactions != 8):
			t.Errorf("%s: %+v, %v", point, c, err)
		case !there && !errors.Is(err, ErrMissing):
			t.Errorf("%s: %v", point, err)
		}
		if contentOf(t, path) != before {
			t.Errorf("%s: the journal is not what it was", point)
		}
		check(t, path)
	}
}

// TestRestoreFile_DiesAnywhere: after a kill at each step a queue opens, of the old file or of the new one, and the old one is not lost.
func TestRestoreFile_DiesAnywhere(t *testing.T) {
	binary := mortal(t)
	for point, restored := range map[string]bool{
		"before": false, "kept": false, "synced": false, "renamed": true, "after": true,
	} {
		path, _ := restorable(t)
		before := contentOf(t, path)
		child := exec.Command(binary, "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_QUEUE_RESTORE="+path, "TIDEOVER_DIE=queue.restore."+point)
		if out, err := child.CombinedOutput(); err == nil || child.ProcessState.ExitCode() != -1 {
			t.Fatalf("%s: it was not killed: %v %s", point, err, out)
		}
		if is := contentOf(t, path) != before; is != restored {
			t.Errorf("%s: restored %v", point, is)
		}
		if kept, _ := filepath.Glob(path + ".2*"); restored && (len(kept) != 1 || contentOf(t, kept[0]) != before) {
			t.Errorf("%s: the old file is lost: %v", point, kept)
		}
		q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		if q.Gap() != restored {
			t.Errorf("%s: gap %v", point, q.Gap())
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		// And it can be done again.
		if _, err := RestoreFile(filepath.Join(filepath.Dir(path), "copy"), path, testKey, testStore); err != nil {
			t.Errorf("%s: again: %v", point, err)
		}
		check(t, path)
	}
}

// TestRestoreFile_AndADaemonThatStarts: of a restore and a daemon one has the journal, and the other one hears so. Whoever has it open has the
// file of that name.
func TestRestoreFile_AndADaemonThatStarts(t *testing.T) {
	path, from := restorable(t)
	const each, tries = 8, 2000
	var restored, opened atomic.Int32
	enough := func() bool { return restored.Load() >= each && opened.Load() >= each }
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; n < tries && !enough(); n++ {
			_, err := RestoreFile(from, path, testKey, testStore)
			switch {
			case err == nil:
				restored.Add(1)
			case !errors.Is(err, ErrInUse):
				t.Error(err)
			}
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
		}
	})
	wg.Go(func() {
		for n := 0; n < tries && !enough(); n++ {
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
			q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
			if err != nil {
				if !errors.Is(err, ErrInUse) {
					t.Error(err)
				}
				continue
			}
			opened.Add(1)
			for range 3 {
				mine, bad := q.file.Stat()
				named, gone := os.Stat(path)
				if err := errors.Join(bad, gone); err != nil || !os.SameFile(mine, named) {
					t.Errorf("it is open, and another file has its name: %v", err)
				}
				time.Sleep(time.Millisecond)
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	check(t, path)
	if !enough() {
		t.Errorf("restored %d times, opened %d times", restored.Load(), opened.Load())
	}
}

// TestNewFiles_BelongToTheDaemon: what root puts in the journal's place the daemon's user must be able to open.
func TestNewFiles_BelongToTheDaemon(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it gives files away")
	}
	const user, group = 12345, 12346
	for name, do := range map[string]func(path, from string) error{
		"restore over the journal": func(path, from string) error {
			_, err := RestoreFile(from, path, testKey, testStore)
			return err
		},
		"restore where none is": func(path, from string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			_, err := RestoreFile(from, path, testKey, testStore)
			return err
		},
		"compact": func(path, _ string) error {
			_, err := CompactFile(path, testKey, testStore)
			return err
		},
	} {
		path, from := restorable(t)
		if err := errors.Join(os.Chown(filepath.Dir(path), user, group), os.Chown(path, user, group)); err != nil {
			t.Fatal(err)
		}
		held, err := os.Open(path) // so that its number is not given anew
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		before, err := held.Stat()
		if err == nil {
			err = do(path, from)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		info, err := os.Stat(path)
		if err != nil || os.SameFile(before, info) {
			t.Fatalf("%s: it is not a new file: %v", name, err)
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != user || owner.Gid != group || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: it belongs to %d:%d, mode %v", name, owner.Uid, owner.Gid, info.Mode())
		}
	}
}
