package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Serve()
	Private()
	os.Exit(m.Run())
}

// mounted makes a disk and mounts it in a folder of its own.
func mounted(t *testing.T, o Options) (*Disk, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse: ", err)
	}
	d, dir := New(o), t.TempDir()
	if err := d.Mount(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d, dir
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// cut loses the power and comes up again.
func cut(t *testing.T, d *Disk, kind Cut) {
	t.Helper()
	d.Freeze()
	d.Release()
	if err := d.Restore(kind, rand.New(rand.NewPCG(3, 4))); err != nil {
		t.Fatal(err)
	}
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	f := must[*os.File](t)(os.Open(dir))
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, sync bool) {
	t.Helper()
	f := must[*os.File](t)(os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600))
	defer f.Close()
	must[int](t)(f.WriteString(text))
	if sync {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

func reads(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		got, err = []byte("(none)"), nil
	}
	if err != nil || string(got) != want {
		t.Errorf("%s has %.40q, %v; want %.40q", filepath.Base(path), got, err, want)
	}
}

func TestDisk_KeepsWhatIsSynced(t *testing.T) {
	d, dir := mounted(t, Options{})
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	write(t, a, "one", true)
	cut(t, d, Lost)
	reads(t, a, "(none)") // its folder was not synced
	write(t, a, "one", true)
	write(t, b, "two", false)
	syncDir(t, dir)
	cut(t, d, Lost)
	reads(t, a, "one")
	reads(t, b, "") // its bytes were not
	write(t, a, "three", false)
	reads(t, a, "three")
	cut(t, d, Lost)
	reads(t, a, "one")
	if err := os.Rename(a, c); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	reads(t, a, "(none)")
	cut(t, d, Lost)
	reads(t, a, "one")
	reads(t, c, "(none)")
	if err := os.Rename(a, c); err != nil {
		t.Fatal(err)
	}
	syncDir(t, dir)
	cut(t, d, Lost)
	reads(t, a, "(none)")
	reads(t, c, "one")
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(sub, "x"), "deep", true)
	syncDir(t, sub)
	syncDir(t, dir)
	cut(t, d, Torn)
	reads(t, filepath.Join(sub, "x"), "deep")
	reads(t, c, "one")
}

// TestDisk_TearsWhatIsNot looks at the sectors of a large write over many cuts: with Partial all are alike, with Torn some are not.
func TestDisk_TearsWhatIsNot(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "a")
	olds, news := bytes.Repeat([]byte("o"), 8192), bytes.Repeat([]byte("n"), 8192)
	dice := rand.New(rand.NewPCG(5, 6))
	for kind := range CutsEnd {
		whole, none, torn := 0, 0, 0
		for range 30 {
			write(t, path, string(olds), true)
			syncDir(t, dir)
			f := must[*os.File](t)(os.OpenFile(path, os.O_WRONLY, 0))
			must[int](t)(f.WriteAt(news, 0))
			f.Close()
			d.Freeze()
			if err := d.Restore(kind, dice); err != nil {
				t.Fatal(err)
			}
			got := must[[]byte](t)(os.ReadFile(path))
			for i := range 16 {
				if s := got[i*512 : i*512+512]; !bytes.Equal(s, olds[:512]) && !bytes.Equal(s, news[:512]) {
					t.Fatalf("sector %d is torn in itself", i)
				}
			}
			switch {
			case bytes.Equal(got, news):
				whole++
			case bytes.Equal(got, olds):
				none++
			default:
				torn++
			}
		}
		t.Logf("%v: %d whole, %d not there, %d torn", kind, whole, none, torn)
		switch {
		case kind == Lost && none != 30, kind == Partial && (torn != 0 || whole == 0 || none == 0), kind == Torn && torn == 0:
			t.Errorf("%v: %d whole, %d not there, %d torn", kind, whole, none, torn)
		}
	}
}

func TestDisk_FailsAsTold(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "a")
	for _, c := range []struct {
		name         string
		fault        Fault
		reads, after string // before and after another sync and a cut
	}{
		{"a write", Fault{Op: Write, At: 1, Err: syscall.EIO}, "old!", "old!"},
		{"half a write", Fault{Op: Write, At: 1, Err: syscall.ENOSPC, Fate: Halved}, "ned!", "ned!"},
		{"a whole write", Fault{Op: Write, At: 1, Err: syscall.EIO, Fate: Whole}, "new!", "new!"},
		{"a sync, its pages dropped", Fault{Op: Sync, At: 1, Err: syscall.EIO}, "new!", "old!"},
		{"a sync that comes later", Fault{Op: Sync, At: 1, Err: syscall.EIO, Fate: Waits}, "new!", "new!"},
		{"a sync that happened", Fault{Op: Sync, At: 1, Err: syscall.EIO, Fate: Whole, Rest: true}, "new!", "new!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, path, "old!", true)
			syncDir(t, dir)
			f := must[*os.File](t)(os.OpenFile(path, os.O_WRONLY, 0))
			defer f.Close()
			d.Fail(c.fault)
			n, err := f.WriteAt([]byte("new!"), 0)
			if c.fault.Op == Sync && err == nil {
				err = f.Sync()
			}
			if !errors.Is(err, c.fault.Err) {
				t.Fatalf("%d, %v", n, err)
			}
			reads(t, path, c.reads)
			if err := f.Sync(); (err != nil) != c.fault.Rest {
				t.Fatal(err)
			}
			f.Close()
			cut(t, d, Lost)
			reads(t, path, c.after)
		})
	}
	d.Fail(Fault{Op: Move, At: 2, Err: syscall.EIO})
	write(t, path+"1", "x", true)
	if err := os.Rename(path+"1", path+"2"); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	reads(t, path+"1", "x")
}

func TestDisk_IsFull(t *testing.T) {
	d, dir := mounted(t, Options{Bytes: 64 << 10})
	path := filepath.Join(dir, "a")
	write(t, path, string(make([]byte, 40<<10)), true)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || int64(s.Bavail)*int64(s.Bsize) != 24<<10 {
		t.Errorf("%d bytes are free, %v", int64(s.Bavail)*int64(s.Bsize), err)
	}
	if err := os.WriteFile(path+"2", make([]byte, 25<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := os.Remove(path + "2"); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(path, 8<<10); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(path, 1<<20); err != nil { // a hole
		t.Error(err)
	}
	if err := os.WriteFile(path+"3", make([]byte, 56<<10), 0o600); err != nil {
		t.Error(err)
	}
	if c := d.Counts(); c.Bytes < 96<<10 || c.Moves < 4 {
		t.Errorf("%+v", c)
	}
}

// TestDisk_FreezesInTheMiddle looks at what one who writes sees of a power failure: nothing, until it is released.
func TestDisk_FreezesInTheMiddle(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "a")
	write(t, path, "old", true)
	syncDir(t, dir)
	f := must[*os.File](t)(os.OpenFile(path, os.O_WRONLY, 0))
	d.FreezeAt(2)
	must[int](t)(f.WriteAt([]byte("new"), 0))
	ended := make(chan error, 1)
	go func() { ended <- f.Sync() }()
	<-d.Frozen()
	select {
	case err := <-ended:
		t.Fatal("answered by a frozen disk: ", err)
	case <-time.After(20 * time.Millisecond):
	}
	d.Release()
	if err := <-ended; !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	f.Close()
	cut(t, d, Lost)
	reads(t, path, "old")
}

func TestDisk_SyncsSlowlyOrNotAtAll(t *testing.T) {
	d, dir := mounted(t, Options{SyncDelay: 30 * time.Millisecond})
	path := filepath.Join(dir, "a")
	begun := time.Now()
	write(t, path, "old", true)
	if took := time.Since(begun); took < 30*time.Millisecond {
		t.Errorf("a sync took %v", took)
	}
	d.SetSyncDelay(0)
	syncDir(t, dir)
	d.SetLie(true)
	write(t, path, "new", true)
	d.SetLie(false)
	cut(t, d, Lost)
	reads(t, path, "old")
}

func TestStart_ServesFromAChild(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	dir := t.TempDir()
	stop, err := Start(dir, Options{Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a")
	write(t, path, "mapped", true)
	f := must[*os.File](t)(os.Open(path))
	page := must[[]byte](t)(unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED))
	if string(page[:6]) != "mapped" {
		t.Errorf("%q", page[:6])
	}
	if err := unix.Munmap(page); err != nil {
		t.Error(err)
	}
	f.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	reads(t, path, "(none)")
}
