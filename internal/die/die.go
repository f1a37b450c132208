//go:build !die

// Package die marks the instants of a transaction's way at which a crash test ends the process. In the product it does nothing.
// Built with the tag "die", [At] ends the process as a power cut would, when TIDEOVER_DIE names the point and its count:
// "queue.commit.before:3" dies the third time that point is reached.
package die

// At marks a point.
func At(string) {}

// Armed says whether a point is the armed one; never, in the product. What it guards brings a crash test's process to that point for certain.
func Armed(string) bool { return false }

// Linger is a pause of a crash test. In the product it is none.
func Linger() {}
