package model

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/hub/ledger"
	"tideover/wire"
)

// How large a world may be.
const (
	txMax     = 4
	routerMax = 2
	hubMax    = 2
	frameMax  = 10 // frames on their way; one more is lost
)

// A tick is how time passes. A sale lives for two of them, a lease is too short for a call after one and over after two, and what the
// platform has had pending for two is too long.
const (
	tickLen    = 20 * time.Second
	saleLife   = 2 * tickLen
	leaseLen   = 30 * time.Second
	callNeed   = 10 * time.Second
	pendingMax = 2 * tickLen
)

const (
	start   tideover.Millis = 1_700_000_000_000
	shop                    = "shop-0001"
	seqStep                 = 1 << 20 // see queue: a process draws its first sequence far beyond the journal's last
)

// fault is something that a world allows only so often.
type fault uint8

const (
	fProcess  fault = iota // a router's process dies, and another one starts
	fReboot                // the router loses power: its clock begins anew
	fReplace               // another router is enrolled on an empty disk
	fCopy                  // the router's disk is copied, and put back later
	fHub                   // a hub's process dies, and another one starts
	fHubCopy               // the ledger is copied, and put back later
	fCut                   // a connection is lost
	fTwice                 // a frame arrives twice
	fSilent                // the platform's answer is lost, or its call times out
	fRefuse                // the platform declines
	fPending               // the platform is at work for long
	fWrong                 // the platform approves another amount
	fLie                   // the platform executes what it has declined
	fTick                  // time passes
	fJump                  // the ledger's clock jumps ahead
	fCancel                // a till cancels
	fAck                   // a till acknowledges
	fRepeat                // a till presses again
	fOther                 // a till presses another request under the same key
	fPerson                // a technician holds, releases, drops or settles
	fTakeOver              // a hub takes over another one's claim
	fHint                  // somebody calls the hub as the platform would
	fPrune                 // the ledger forgets an end that is old enough
	faults
)

// press is one transaction that a till may make.
type press struct {
	kind     tideover.Kind
	amount   int64
	original int // index of what it undoes; -1: none
}

// scenario is what does not change in a world.
type scenario struct {
	name       string
	presses    []press
	idempotent bool
	hubs       int
	allow      map[fault]uint8
	late       bool // hellos and acknowledgements may be late; otherwise they arrive at once
	fine       bool // outbox replays are heard frame by frame, questions are recorded later than answered, progress is told
	wall       bool // routers think that it is tomorrow
	marked     bool // copies of the ledger are made by the command that marks them
	overlap    bool // sales may leave before their acceptance is on disk
	broken     mutation

	ids     [txMax]tideover.ID
	index   map[tideover.ID]int
	submits [txMax]wire.Submit // without what a router adds
}

func (sc *scenario) prepare() *scenario {
	sc.index = map[tideover.ID]int{}
	sc.hubs = max(sc.hubs, 1)
	for i, p := range sc.presses {
		key := fmt.Sprintf("key-%d", i)
		s := wire.Submit{ID: tideover.MakeID(shop, "till", key), TerminalUID: "till", Terminal: "till", Key: key}
		s.Request = tideover.Request{Kind: p.kind, Amount: p.amount, Currency: "CNY"}
		if p.kind == tideover.KindSale {
			s.Request.ExpiresIn = saleLife
		}
		if p.kind.Undoes() {
			s.Request.Original = sc.ids[p.original]
		}
		s.Hash = [32]byte{byte(i + 1)}
		sc.ids[i], sc.submits[i] = s.ID, s
		sc.index[s.ID] = i
	}
	return sc
}

// world is one state of everything. What its boxes hold never changes, so that a copy is cheap.
type world struct {
	*scenario
	story *story // non-nil while a counterexample is told

	tick, jump uint8
	drawn      uint64 // random names and heads
	ledgers    [hubMax]books
	saved      *books // an old copy of the first ledger
	hubs       [hubMax]hub
	platform   [txMax]paid
	routers    [routerMax]router
	savedDisk  *disk
	till       uint8 // the router that tills speak to
	net        []frame
	oracle     oracle
	left       [faults]uint8
	calm       bool // no more faults
}

// books is a ledger.
type books struct {
	history *box[ledger.History]
	store   *box[ledger.Store]
	rows    [txMax]*box[ledger.Row]
}

func newWorld(sc *scenario) *world {
	w := &world{scenario: sc, drawn: 100}
	for f, n := range sc.allow {
		w.left[f] = n
	}
	for l := range w.ledgers {
		w.ledgers[l].store = boxed(ledger.Store{Name: shop})
		w.ledgers[l].open(w.draw())
	}
	for h := range sc.hubs {
		w.hubs[h] = hub{owner: w.draw()}
		if sc.broken == twoLedgers {
			w.hubs[h].ledger = uint8(h)
		}
	}
	w.install(0)
	return w
}

// open begins a new span of the ledger's life.
func (b *books) open(name uint64) {
	var h ledger.History
	if b.history != nil {
		h = b.history.v
	}
	h.Epochs = append(slices.Clip(h.Epochs), name16(name))
	b.history = boxed(h)
}

// clone copies a world; the copy can be changed without changing w.
func (w *world) clone() *world {
	n := *w
	n.net = append(make([]frame, 0, len(w.net)+2), w.net...)
	return &n
}

// draw returns a value that was never returned before.
func (w *world) draw() uint64 {
	w.drawn++
	return w.drawn
}

func name16(n uint64) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], n)
	return b
}

func number(b [16]byte) uint64 { return binary.BigEndian.Uint64(b[:]) }

// ledgerNow is the ledger's time.
func (w *world) ledgerNow() tideover.Millis {
	return start.Add(time.Duration(w.tick+w.jump) * tickLen)
}

// since is the boot-time clock of everything that was booted at the beginning.
func (w *world) since(tick uint8) time.Duration {
	return time.Duration(w.tick-tick)*tickLen + time.Second
}

// wallClock is what a router takes for the time of day.
func (w *world) wallClock() tideover.Millis {
	if w.wall {
		return w.ledgerNow().Add(24 * time.Hour)
	}
	return w.ledgerNow()
}

func (w *world) policy() ledger.Policy {
	return ledger.Policy{Idempotent: w.idempotent || w.broken == calledTwice, PendingMax: pendingMax}
}

// spend takes a fault out of the world's budget; false where there is none left.
func (w *world) spend(f fault) bool {
	if w.left[f] == 0 {
		return false
	}
	w.left[f]--
	return true
}

func (w *world) can(f fault) bool { return w.left[f] > 0 }

// encoded is every type of which a world is made that comes from the product.
var encoded = []reflect.Type{
	reflect.TypeFor[ledger.Row](), reflect.TypeFor[ledger.Store](), reflect.TypeFor[ledger.History](),
	reflect.TypeFor[edge.Record](), reflect.TypeFor[event](),
	reflect.TypeFor[edge.Past](), reflect.TypeFor[wire.Submit](), reflect.TypeFor[wire.Ask](), reflect.TypeFor[wire.Cancel](),
	reflect.TypeFor[wire.Expire](), reflect.TypeFor[wire.Hello](), reflect.TypeFor[wire.Welcome](), reflect.TypeFor[wire.Confirmation](),
	reflect.TypeFor[wire.CaughtUp](), reflect.TypeFor[wire.Open](), reflect.TypeFor[wire.Refused](), reflect.TypeFor[progress](), reflect.TypeFor[answer](),
	reflect.TypeFor[have](),
	reflect.TypeFor[wire.Settle](), reflect.TypeFor[wire.Replay](), reflect.TypeFor[wire.Replayed](),
}
