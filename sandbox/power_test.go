package sandbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tideover/internal/lab/disk"
)

// How often the power fails, of the router and of the hub together.
const (
	cutsShort   = 8   // go test -short
	cutsDefault = 40  // what CI must show
	cutsNightly = 400 // TIDEOVER_NIGHTLY=1
)

// onDisk moves what a program has in its state directory onto a disk that can fail. The program does not run.
func (c *campaign) onDisk(name string) *disk.Disk {
	c.t.Helper()
	dir, plain := c.shop.path(name), c.shop.path(name+".plain")
	c.must(os.Rename(dir, plain))
	c.must(os.Mkdir(dir, 0o700))
	d := disk.New(disk.Options{})
	c.must(d.Mount(dir))
	c.t.Cleanup(func() { // before the shop's folder goes
		c.shop.edge.kill()
		c.shop.hub.kill()
		if err := d.Unmount(); err != nil {
			c.t.Error(err)
		}
	})
	c.must(os.Chmod(dir, 0o700))
	entries, err := os.ReadDir(plain)
	c.must(err)
	for _, e := range entries {
		info, err := e.Info()
		c.must(err)
		if !info.Mode().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(plain, e.Name()))
		c.must(err)
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_CREATE|os.O_WRONLY, info.Mode().Perm())
		c.must(err)
		_, err = f.Write(b)
		c.must(err)
		c.must(f.Sync())
		c.must(f.Close())
	}
	f, err := os.Open(dir)
	c.must(err)
	c.must(f.Sync())
	c.must(f.Close())
	return d
}

// outage lets the power of a program's machine fail over and over, each time in the middle of an operation of its disk or after a random life,
// and starts it again.
func (c *campaign) outage(p *program, d *disk.Disk, cuts int, dice *rand.Rand) error {
	for i := range cuts {
		d.FreezeAt(1 + dice.IntN(200))
		select {
		case <-d.Frozen():
		case <-time.After(time.Duration(dice.ExpFloat64() * float64(3*lifeMean))):
		case <-p.ended():
			return fmt.Errorf("%s ended by itself:\n%s", p.name, tail(p.log))
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
		d.Freeze()
		p.mu.Lock()
		_ = p.cmd.Process.Kill()
		p.mu.Unlock()
		d.Release() // it is killed, and may end now
		p.kill()
		if !p.killed() {
			return fmt.Errorf("%s ended by itself:\n%s", p.name, tail(p.log))
		}
		if err := d.Restore(disk.Cut(i%int(disk.CutsEnd)), dice); err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// TestCampaign_PowerFails is the campaign of kills with disks that lose, keep in part or tear what the programs had not synced: the router's and
// the hub's.
func TestCampaign_PowerFails(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts file systems")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse: ", err)
	}
	t.Parallel()
	cuts := cutsDefault
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") == "1":
		cuts = cutsNightly
	case testing.Short():
		cuts = cutsShort
	}
	c := newCampaign(t, Options{Platform: trouble(), PlatformTimeout: time.Second})
	c.must(c.shop.Stop())
	disks := []*disk.Disk{c.onDisk("hub"), c.onDisk("edge")}
	c.must(c.shop.StartHub(c.ctx))
	c.must(c.shop.StartEdge(c.ctx))
	c.sell()
	errs := make(chan error, 2)
	for i, p := range []*program{c.shop.hub, c.shop.edge} {
		dice := rand.New(rand.NewPCG(c.seed, uint64(i)))
		go func() {
			err := c.outage(p, disks[i], cuts/2, dice)
			if err != nil {
				c.abort()
			}
			errs <- err
		}()
	}
	for range disks {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	c.must(c.ctx.Err())
	c.serve()
	c.settle()
	if v := c.judge(); v.Approved == 0 {
		t.Errorf("the campaign showed nothing: %d approved", v.Approved)
	}
	for _, d := range disks {
		t.Logf("a disk had %+v", d.Counts())
	}
	c.must(c.shop.Stop())
}
