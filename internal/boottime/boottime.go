// Package boottime reads the clock that runs from boot on, through suspend, and that nobody sets: leases and ledger time are
// carried by it.
package boottime

import (
	"crypto/sha256"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the time since boot (CLOCK_BOOTTIME).
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("boottime: CLOCK_BOOTTIME is missing: Linux 2.6.39 or later is needed: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// ID names this boot: instants of [Now] compare only within one. It is zero where the kernel does not tell.
func ID() [16]byte {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return [16]byte{}
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}
