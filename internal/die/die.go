//go:build !die

// Package die marks the instants of a transaction's way at which a crash test ends the process. In the product it does nothing.
// Built with the tag "die", [At] ends the process as a power cut would, when TIDEOVER_DIE names the point and its count:
// "queue.commit.before:3" dies the third time that point is reached.
package die

// At marks a point.
func At(string) {}
