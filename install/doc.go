// Package install makes a machine a store's edge: it enrols it with a one-time token, and loads what enrolment has left behind.
//
// # The state directory
//
// [Enroll] writes, all in 0700 and 0600:
//
//	identity.json   the store, the ledger, the hub's addresses, and the terminals that the hub remembered
//	edge.key        this machine's key (P-256, PKCS #8, PEM); it never leaves it
//	edge.crt        the store's certificate for it (PEM)
//	ca.crt          the hub's authority, whose fingerprint was in the token (PEM)
//	store.secret    32 bytes that key the request and instrument hashes
//	receipt.pub     the public keys that receipts are checked with (PEM), those of earlier ones too; a hub that signs none tells none
//	queue.key       the keys that seal payloads; kept as long as there is a queue.db, since nothing else opens it
//
// queue.key is the 32 bytes of one key until the first [AddQueueKey]. From then on it is JSON: "version" 2; "keys", each in hexadecimal, the
// newest first; and "destroyed", the names of those that [DestroyQueueKeys] has taken out. It is replaced as a whole: written under another
// name, synced, renamed, and the folder synced.
//
// # Crashes
//
// Everything is gathered and synced in the folder .enroll, which is then renamed to .enrolled: from that instant the machine is
// enrolled. The files are moved into place afterwards; whoever comes next, [Enroll] or [Load], finishes that. A machine is never
// half enrolled, and an enrolment that died before it was answered is repeated with the same key, to which the hub gives the same
// answer again.
//
// # Time
//
// No step trusts the wall clock. At enrolment the hub is known by its fingerprint, and dates are compared with the ledger's time, which
// comes with its answer; later [Identity.TLS] is told the time by its caller.
package install
