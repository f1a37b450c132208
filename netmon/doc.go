// Package netmon tells that the machine's links have changed, and what they are. It never decides.
//
// It listens to the kernel (rtnetlink: links, addresses, routes), which an ordinary user may, and looks again every few seconds where that
// cannot be had. Events hasten decisions and never make them: the kernel tells of a lost carrier up to a second late, IPv4 routes of a
// link that went down vanish without an event, and a deleted address gives no send error.
package netmon
