package disk

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// serving tells a process to serve a disk, and which.
const serving = "TIDEOVER_LAB_DISK"

// served is the disk.
type served struct {
	Dir     string
	Options Options
}

// startMax is how long a mount may take at most.
const startMax = 10 * time.Second

// Start mounts a disk at dir that a child of this process serves, so that this process may map files on it. The program has to call [Serve]
// before it does anything else. stop unmounts it, and loses what is on it; so does the end of this process.
func Start(dir string, o Options) (stop func() error, err error) {
	told, err := json.Marshal(served{dir, o})
	if err != nil {
		return nil, err
	}
	child := exec.Command("/proc/self/exe", "-test.run=^$")
	child.Env = append(os.Environ(), serving+"="+string(told))
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	slow := time.AfterFunc(startMax, func() { child.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	slow.Stop()
	if err != nil || line != "mounted\n" {
		return nil, errors.Join(fmt.Errorf("the disk at %s was not mounted: %q", dir, line), child.Process.Kill(), child.Wait())
	}
	return func() error { return errors.Join(in.Close(), child.Wait()) }, nil
}

// Serve serves a disk and ends the process where [Start] has begun it; else it returns at once.
func Serve() {
	told := os.Getenv(serving)
	if told == "" {
		return
	}
	os.Unsetenv(serving)
	var s served
	err := json.Unmarshal([]byte(told), &s)
	d := New(s.Options)
	if err == nil {
		err = d.Mount(s.Dir)
	}
	if err == nil {
		fmt.Println("mounted")
		io.Copy(io.Discard, os.Stdin) // until it is closed, by stop or by the end of the one who began this
		err = d.Unmount()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(0)
}
