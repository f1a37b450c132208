package power

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tideover/internal/lab/disk"
)

// ext4 is a real ext4 on a file of the disk, through a loop device.
type ext4 struct {
	t       *testing.T
	image   string
	dir     string // where it is mounted
	mounted bool
}

// newExt4World makes a world whose journal lies on ext4.
func newExt4World(t *testing.T, dice *rand.Rand) *world {
	t.Helper()
	w := newWorld(t, dice, disk.Options{})
	e := &ext4{t: t, image: filepath.Join(filepath.Dir(w.path), "image"), dir: t.TempDir()}
	f, err := os.Create(e.image)
	if err == nil {
		err = errors.Join(f.Truncate(32<<20), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	made, err := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", e.image).
		CombinedOutput()
	if err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, made)
	}
	if err := w.syncAll(e.image); err != nil {
		t.Fatal(err)
	}
	w.path = filepath.Join(e.dir, "queue.db")
	w.over = e
	e.up()
	t.Cleanup(func() { // before the disk goes
		w.disk.Release()
		e.down()
	})
	return w
}

// up mounts it, which replays its journal.
func (e *ext4) up() {
	e.t.Helper()
	device, err := e.loop()
	if err != nil {
		e.t.Fatalf("loop device: %v", err)
	}
	defer device.Close() // from here on its mount alone holds it
	if err := unix.Mount(device.Name(), e.dir, "ext4", unix.MS_NOATIME, ""); err != nil {
		e.t.Fatalf("mount ext4: %v", err)
	}
	e.mounted = true
}

// loop makes the image a block device, which is freed with its last user.
func (e *ext4) loop() (*os.File, error) {
	image, err := os.OpenFile(e.image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 20 { // somebody else may be quicker
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := e.device(number)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &unix.LoopConfig{
			Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil, errors.New("none was free for long enough")
}

// device opens a loop device. Where /dev does not grow by itself, it makes the node.
func (e *ext4) device(number int) (*os.File, error) {
	path := fmt.Sprint("/dev/loop", number)
	for range 20 {
		if _, err := os.Stat(path); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(e.t.TempDir(), "loop")
		if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(number)))); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// down unmounts it: from a disk that is dead already, where nothing of what it still wanted to write arrives.
func (e *ext4) down() {
	e.t.Helper()
	if !e.mounted {
		return
	}
	e.mounted = false
	if err := unix.Unmount(e.dir, 0); err != nil {
		e.t.Errorf("unmount ext4: %v", errors.Join(err, unix.Unmount(e.dir, unix.MNT_DETACH)))
	}
}

// TestPower_CutsUnderExt4LoseNothing is the same on a real ext4: what it makes of a failed disk, with its journal replayed at the next mount.
func TestPower_CutsUnderExt4LoseNothing(t *testing.T) {
	needs(t, "mkfs.ext4")
	for kind := range disk.CutsEnd {
		t.Run(kind.String(), func(t *testing.T) {
			var sum tally
			cuts, pending := 0, 0
			for round := range each(12, 1) {
				dice := rand.New(rand.NewPCG(uint64(kind), uint64(round)))
				w := newExt4World(t, dice)
				for range each(10, 4) {
					o := order{Tills: []int{1, 3, 8}[dice.IntN(3)], Backup: dice.IntN(4) == 0, Compact: dice.IntN(3) == 0, Prune: dice.IntN(3) == 0}
					words, n := w.cut(kind, 1+dice.IntN(o.operations()), o, nil)
					if words != "" {
						t.Fatalf("round %d, cut %d: %s", round, cuts, words)
					}
					cuts++
					pending += n
				}
				if words := w.look(); words != "" {
					t.Fatalf("round %d: %s", round, words)
				}
				sum.add(&w.said)
			}
			t.Logf("%d cuts, %.1f writes at each that were not synced; %v; 0 lost", cuts, float64(pending)/float64(cuts), sum)
		})
	}
}

// TestPower_ADiskThatLiesToExt4Loses is the control for it.
func TestPower_ADiskThatLiesToExt4Loses(t *testing.T) {
	needs(t, "mkfs.ext4")
	w := newExt4World(t, rand.New(rand.NewPCG(1, 2)))
	words, _ := w.cut(disk.Lost, 400, order{Tills: 3}, func(line string) {
		if strings.HasPrefix(line, "created") {
			w.disk.SetLie(true)
		}
	})
	if words != "" {
		t.Fatal(words)
	}
	w.disk.SetLie(false)
	if words := w.look(); !strings.HasPrefix(words, "lost: ") {
		t.Errorf("a disk that lies lost nothing: %q of %d promises", words, w.said.Lines)
	}
}
