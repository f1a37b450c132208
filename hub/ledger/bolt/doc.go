// Package bolt keeps the hub's ledger in one bbolt file.
//
// # Order and durability
//
// One goroutine, [Ledger.Run], makes every change. What has queued up while the last commit was syncing is the next commit; there is
// no timer. [Ledger.Update] returns after the commit that holds its change is on disk. Within a commit, later steps see what earlier ones
// did. A step runs in that goroutine: it must be pure and short.
//
// An error of a commit means that its outcome is unknown. Nothing of it is answered, Run returns the error, every waiting call
// gets [ledger.ErrStopped], and the process must end: going on in it could destroy what the disk still has.
//
// # The file
//
// [Create] makes a ledger; [Open] never does. Open reads every page, with bounds and order, before bbolt maps the
// file, so that a damaged one is an error and not a fault of the process. Each value carries a checksum. Payloads, instruments and the
// stores' secrets are sealed with AES-256-GCM under the key that is given; the row's key is the associated data. Claims of an earlier
// process have lapsed when Open returns.
package bolt
