package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// drainMax is how long a program may take to end by itself after SIGTERM.
const drainMax = 10 * time.Second

// program is one of the shop's programs, started, killed and started again as a child process.
type program struct {
	name string // for people
	exe  string
	args []string
	log  string // file that its output is appended to

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd
	done chan struct{} // closed when the present process has ended
}

// start runs the program with further environment variables. It ends with this process, however this one ends.
func (p *program) start(env ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		select {
		case <-p.done:
		default:
			return fmt.Errorf("%s is running already", p.name)
		}
	}
	out, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own descriptor
	cmd := exec.Command(p.exe, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(bareEnviron(), env...)
	// A group of its own: Ctrl-C is for the story, which then ends its programs in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		_ = cmd.Wait() // judged by whoever asks: see ended
		close(done)
	}()
	return nil
}

// bareEnviron is this process's environment without what would reach into the configuration of the shop's programs.
func bareEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TIDEOVER_") })
}

// kill ends the process as a power cut would, and returns when it is gone. A program that is not running stays so.
func (p *program) kill() {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	<-done
}

// stop asks the process to end, and kills it if it does not within [drainMax].
func (p *program) stop() error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(drainMax):
		p.kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM; its output is in %s", p.name, drainMax, p.log)
	}
	if state := cmd.ProcessState; !state.Success() {
		return fmt.Errorf("%s ended with %v; its output is in %s", p.name, state, p.log)
	}
	return nil
}

// freeze stops the process where it stands while something is done: what is on its disk is what a power cut would leave there. It does
// not hold a process that has ended.
func (p *program) freeze(do func() error) error {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze %s: %w", p.name, err)
	}
	defer func() { _ = cmd.Process.Signal(syscall.SIGCONT) }()
	// The signal is on its way until every thread has taken it.
	for deadline := time.Now().Add(drainMax); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			return err
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(state, "T") {
			return do()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not stop", p.name)
		}
	}
}

// ended returns a channel that is closed when the present process has ended, and nil before the first start.
func (p *program) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// killed says whether the present process was ended by SIGKILL.
func (p *program) killed() bool {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return false
	}
	<-done
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// errEnded is returned by until for a program that ended while it was waited for.
var errEnded = errors.New("it ended instead")

// until waits until ready succeeds, and fails if the program ends first or after limit.
func (p *program) until(ctx context.Context, limit time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ended := p.ended()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("wait for %s: %w; its output is in %s", p.name, errEnded, p.log)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; its output is in %s", p.name, err, p.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// pid is the number of the present process; 0 before the first start.
func (p *program) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
