package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// privately marks a process that has a mount namespace of its own, and its children.
const privately = "TIDEOVER_LAB_PRIVATE"

// Private runs the calling test binary once more, in a mount namespace of its own, and ends with its exit status; there it returns at once.
// It is the first thing that TestMain does. What is mounted in the namespace, and the loop devices that are freed with their last user, end
// with the last process in it, whatever ended that. As an ordinary user it returns and does nothing.
func Private() {
	if os.Geteuid() != 0 || os.Getenv(privately) != "" {
		return
	}
	runtime.LockOSThread() // the child is killed when this thread ends
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Args[0] = os.Args[0]
	again.Env = append(os.Environ(), privately+"=1")
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := again.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "a mount namespace of its own:", err)
		os.Exit(2)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			again.Process.Signal(s)
		}
	}()
	err := again.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(1, exit.ExitCode()))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(0)
}
