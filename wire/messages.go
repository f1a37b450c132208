package wire

import (
	"tideover"
)

// Type is a frame's type. A receiver skips even types that it does not know; an odd one that it does not know ends the connection.
type Type uint64

// The frame types, with the side that sends each: E the edge, H the hub.
const (
	// On the control stream, which the edge opens first.
	TypeHello         Type = 1  // E: first frame of a connection
	TypeWelcome       Type = 3  // H: answers hello
	TypeConfirmation  Type = 5  // H: an end; also on a transaction's stream
	TypeCaughtUp      Type = 7  // H: everything that was in the outbox at hello has been said
	TypeAck           Type = 9  // E: these confirmations are on the edge's disk
	TypeTerminals     Type = 11 // E: the whole list of terminals
	TypeTerminalsKept Type = 13 // H: that list is committed
	TypeGoAway        Type = 14 // H: this hub drains; dial another address or again in a while
	TypeOpen          Type = 15 // H: a transaction without an end, before caught up; only to an edge that has set [FeatureOpen]
	TypeAnchor        Type = 16 // E: a newer committed head
	TypeReplayed      Type = 18 // E: every end that the welcome asked for was replayed and answered

	// On a stream of its own for each transaction, which the edge opens.
	TypeSubmit   Type = 33 // E: execute this, or tell its end if the ledger has it
	TypeAsk      Type = 35 // E: tell what the ledger has of this id
	TypeCancel   Type = 37 // E: bar this id, or undo it
	TypeExpire   Type = 39 // E: tombstone: this edge certifies that it never sent the id, and has said expired or cancelled
	TypeGot      Type = 41 // H: the frame was read
	TypeProgress Type = 43 // H: not an end: pending, in doubt, reversing, manual, or unknown to the ledger
	TypeRefused  Type = 45 // H: not taken, and why
	TypeSettle   Type = 47 // E: a person has settled what is manual
	TypeReplay   Type = 49 // E: an end that this journal has, and that a restored ledger may have lost

	// On a stream of its own, which an edge opens only to a hub that has set [FeatureReconcile].
	TypeReconcile Type = 51 // E: tell what ledger and platform have of a time
	TypeBooked    Type = 53 // H: some of it
	TypeBalanced  Type = 55 // H: that was all of it

	// On the only stream of an enrolment's connection.
	TypeEnroll   Type = 65 // E
	TypeEnrolled Type = 67 // H
)

// Protocol names of TLS's ALPN: the major version is in the name.
const (
	Protocol       = "tideover/1"
	EnrollProtocol = "tideover-enroll/1"
	// ServerName is the name in every hub's certificate, whatever address it is dialled at.
	ServerName = "tideover-hub"
)

// Features are bits of the hello: what a side can do beyond version 1.
type Features uint64

// The features.
const (
	FeatureReconcile Features = 1 << 0 // H: it answers [Reconcile]
	// FeatureOpen: H: it tells what has no end, if an edge asks; so a sale may leave before its acceptance is on the edge's disk. E: it asks for that
	// now, since an earlier process of it may have sent what its journal does not have.
	FeatureOpen Features = 1 << 1
)

// Hello opens a connection's control stream.
type Hello struct {
	Incarnation [16]byte `cbor:"1,keyasint"` // random, one for each start of the edge's process
	Seq         uint64   `cbor:"2,keyasint"` // committed journal sequence
	Head        [32]byte `cbor:"3,keyasint"` // the chain's hash at Seq
	HaveThrough uint64   `cbor:"4,keyasint"` // every outbox position up to it is on the edge's disk
	Features    Features `cbor:"5,keyasint,omitempty"`
	Software    string   `cbor:"6,keyasint,omitempty"`
	// Terminals is the SHA-256 of the edge's list of terminals as [TerminalsDigest] makes it.
	Terminals [32]byte `cbor:"7,keyasint"`

	Journal [16]byte `cbor:"8,keyasint,omitzero"`  // random, one for each journal that was ever made; zero: not said
	Highest uint64   `cbor:"9,keyasint,omitempty"` // the highest outbox position that this journal has ever taken
	// Epoch is the newest of the ledger's epochs that this journal has heard of: one that the ledger does not know was lost with what
	// followed it. Zero: none was heard.
	Epoch [16]byte `cbor:"10,keyasint,omitzero"`
}

// Welcome answers a hello. What the outbox holds beyond Hello.HaveThrough follows as confirmations, then [CaughtUp].
type Welcome struct {
	Ledger       [16]byte        `cbor:"1,keyasint"`
	LedgerTime   tideover.Millis `cbor:"2,keyasint"`
	AnchorSeq    uint64          `cbor:"3,keyasint"` // the edge's last committed head that the hub holds
	AnchorHead   [32]byte        `cbor:"4,keyasint"`
	PrunedBefore tideover.Millis `cbor:"5,keyasint,omitempty"`
	GivenOut     uint64          `cbor:"6,keyasint"` // the highest outbox position ever given to this store
	Features     Features        `cbor:"7,keyasint,omitempty"`
	Software     string          `cbor:"8,keyasint,omitempty"`
	Terminals    [32]byte        `cbor:"9,keyasint"` // digest of the list that the hub keeps; if it differs, the edge sends its own

	Epoch [16]byte `cbor:"10,keyasint,omitzero"` // of the ledger since it was opened last
	// Gap: another journal has spoken for this store, so that this one lacks a part of the store's past.
	Gap bool `cbor:"11,keyasint,omitempty"`
	// LostBefore: what the journal had up to this sequence, the ledger may have known and lost with a part of its past; 0: nothing is
	// lost. An id from that time is sent with [Submit.Again].
	LostBefore uint64 `cbor:"12,keyasint,omitempty"`
	// LostFrom, while Replay is set: ends whose outbox position is above it may be lost, and are to be replayed.
	LostFrom uint64 `cbor:"13,keyasint,omitempty"`
	Replay   bool   `cbor:"14,keyasint,omitempty"`
	// ReceiptKey is the ed25519 public key that this hub signs receipts with; zero where it signs none.
	ReceiptKey [32]byte `cbor:"15,keyasint,omitzero"`
}

// Confirmation is an end on its way home.
type Confirmation struct {
	ID        tideover.ID      `cbor:"1,keyasint"`
	HubSeq    uint64           `cbor:"2,keyasint"` // its outbox position
	Outcome   tideover.Outcome `cbor:"3,keyasint"`
	Corrected bool             `cbor:"4,keyasint,omitempty"` // replaces another end that was told
	// Adopt is what an edge that has no record of the id needs to enter it in its journal; set where the outbox is replayed. Its kind is
	// none where the id was barred before any request of it was seen.
	Adopt *Submit `cbor:"5,keyasint,omitempty"`
	// Asked: it was decided by a hub that knew that a cancel of it is asked for.
	Asked bool `cbor:"6,keyasint,omitempty"`
	// Receipt is what the edge needs for a receipt of this end; zero where the hub signs none, or has never seen a request of the id.
	Receipt tideover.Proof `cbor:"7,keyasint,omitzero"`
}

// Open is a transaction that the ledger has and that has no end yet.
type Open struct {
	Submit Submit `cbor:"1,keyasint"` // without payload; of kind none where the id was barred
	// State is as [Progress] tells it.
	State      tideover.State `cbor:"2,keyasint"`
	WaitingFor string         `cbor:"3,keyasint,omitempty"`
}

// CaughtUp closes the replay of the outbox.
type CaughtUp struct {
	Through uint64 `cbor:"1,keyasint"` // every position up to it was said, or had been acknowledged before
	// Open: everything that the ledger has of the store was told, as an [Open] or by its end, or had been acknowledged before. Without it, it is
	// not known what an earlier process of the edge may have sent.
	Open bool `cbor:"2,keyasint,omitempty"`
}

// Position is one confirmation: an id, and the outbox position at which its end was told.
type Position struct {
	ID     tideover.ID `cbor:"1,keyasint"`
	HubSeq uint64      `cbor:"2,keyasint"`
}

// Ack tells that confirmations are on the edge's disk, at most [AckMax] of them.
type Ack struct {
	Have []Position `cbor:"1,keyasint"`
}

// Terminals is the whole list of a store's terminals, at most [TerminalsMax], revoked ones included.
type Terminals struct {
	Terminals []tideover.Terminal `cbor:"1,keyasint"`
}

// TerminalsKept tells the digest of the list that the hub has committed.
type TerminalsKept struct {
	Digest [32]byte `cbor:"1,keyasint"`
}

// GoAway asks the edge to leave; what is in flight is still answered.
type GoAway struct {
	AfterMillis int64 `cbor:"1,keyasint,omitempty"` // dial again after this time at the earliest
}

// Anchor is a newer committed head of the edge's chain.
type Anchor struct {
	Seq  uint64   `cbor:"1,keyasint"`
	Head [32]byte `cbor:"2,keyasint"`
}

// Submit carries a transaction to the hub.
type Submit struct {
	ID          tideover.ID      `cbor:"1,keyasint"`
	TerminalUID string           `cbor:"2,keyasint"`
	Terminal    string           `cbor:"3,keyasint"`
	Key         string           `cbor:"4,keyasint"`
	Hash        [32]byte         `cbor:"5,keyasint"` // the request hash
	Request     tideover.Request `cbor:"6,keyasint"`
	CreatedAt   tideover.Millis  `cbor:"7,keyasint"`           // the edge's wall clock
	ExpiresAt   tideover.Millis  `cbor:"8,keyasint,omitempty"` // ledger time; sales only
	// Again: an earlier copy may have left, and the ledger may have lost it.
	Again bool `cbor:"9,keyasint,omitempty"`
	// Anchor is a committed head that has the acceptance, or the one before it where the sale leaves early ([FeatureOpen]). It is kept with the claim, so
	// that a copy of the disk from before is known as one.
	Anchor Anchor `cbor:"10,keyasint,omitzero"`
}

// Receipt returns what a receipt of the transaction says of an end, unsigned.
func (s *Submit) Receipt(store string, o tideover.Outcome, corrected bool) tideover.Receipt {
	q := &s.Request
	return tideover.ReceiptOf(store, tideover.Transaction{
		ID: s.ID, Terminal: s.Terminal, Kind: q.Kind, Amount: q.Amount, Currency: q.Currency, Method: q.Method, Order: q.Order,
		Original: q.Original, Operator: q.Operator, State: o.Result, Outcome: &o, CreatedAt: s.CreatedAt, Corrected: corrected,
	})
}

// Ask asks for what the ledger has of an id.
type Ask struct {
	ID tideover.ID `cbor:"1,keyasint"`
}

// Cancel asks the hub to bar an id or to undo it. The hash may be zero: a cancel by key knows no request.
type Cancel struct {
	ID          tideover.ID `cbor:"1,keyasint"`
	TerminalUID string      `cbor:"2,keyasint"`
	Terminal    string      `cbor:"3,keyasint"`
	Key         string      `cbor:"4,keyasint"`
	// Again: a copy of the transaction may have left, and the ledger may have lost it: an id that it does not have is not certain.
	Again bool `cbor:"5,keyasint,omitempty"`
}

// Expire is a tombstone: the edge has said this end by itself, since no byte of the transaction can have left. Its Submit is of kind
// none where a key was barred before any request of it was seen.
type Expire struct {
	Submit  Submit         `cbor:"1,keyasint"`
	Outcome tideover.State `cbor:"2,keyasint"` // expired or cancelled
}

// Settle is a person's word on a transaction that no machine can resolve. The ledger decides once what it ends as, and answers with
// that end.
type Settle struct {
	Submit Submit         `cbor:"1,keyasint"` // without payload; of kind none where the id was barred
	As     tideover.State `cbor:"2,keyasint"` // approved, declined or reversed
	By     string         `cbor:"3,keyasint,omitempty"`
	Reason string         `cbor:"4,keyasint,omitempty"`
}

// Replay is an end that the edge's journal has, told to a ledger that may have lost it. It is answered with what the ledger has from
// then on: that end at the same position, or what it knows better.
type Replay struct {
	Submit    Submit           `cbor:"1,keyasint"` // without payload; of kind none where the id was barred
	HubSeq    uint64           `cbor:"2,keyasint"` // its outbox position
	Outcome   tideover.Outcome `cbor:"3,keyasint"`
	Corrected bool             `cbor:"4,keyasint,omitempty"`
}

// Replayed says that every end above [Welcome.LostFrom] was replayed, and answered.
type Replayed struct{}

// Got says that the stream's frame was read; it stops the hedge timer.
type Got struct{}

// Progress tells a state that is not an end. [tideover.StateNone] means that the ledger has no row.
type Progress struct {
	State      tideover.State `cbor:"1,keyasint"`
	WaitingFor string         `cbor:"2,keyasint,omitempty"`
}

// Reconcile asks what the ledger, and the platform's own statement, have of the store's transactions that were created in a time: From is
// within it, To is not. The time is the edge's wall clock, as in [Submit.CreatedAt]; at most [ReconcileSpanMax]. What was barred before any
// request of it was seen counts by when it was barred. The answer is any number of [Booked], then one [Balanced]; or a [Refused] instead of
// what is left of them, and then nothing of what was said counts.
type Reconcile struct {
	From tideover.Millis `cbor:"1,keyasint"`
	To   tideover.Millis `cbor:"2,keyasint"`
	// LedgerOnly: the platform is not asked. A till that closes waits for the answer, and each till does.
	LedgerOnly bool `cbor:"3,keyasint,omitempty"`
}

// BookingSide is whose books a [Booking] stands in.
type BookingSide uint8

// The sides of a reconcile that the hub tells; the third, the journal, is the edge's own.
const (
	SideLedger   BookingSide = 1
	SidePlatform BookingSide = 2
)

// Booking is one entry of one side's books.
type Booking struct {
	Side BookingSide `cbor:"1,keyasint"`
	ID   tideover.ID `cbor:"2,keyasint"`
	// TerminalUID and Terminal are the ledger's alone.
	TerminalUID string `cbor:"3,keyasint,omitempty"`
	Terminal    string `cbor:"4,keyasint,omitempty"`
	// Kind is none where the ledger has barred an id before any request of it was seen, or has lost the request.
	Kind     tideover.Kind `cbor:"5,keyasint,omitempty"`
	Amount   int64         `cbor:"6,keyasint,omitempty"`
	Currency string        `cbor:"7,keyasint,omitempty"`
	// State is as an edge would show it. Of the ledger: an end, else pending, in doubt, reversing or manual. Of the platform: approved,
	// declined, reversed or pending.
	State     tideover.State `cbor:"8,keyasint"`
	Reference string         `cbor:"9,keyasint,omitempty"` // the platform's own number
	// CreatedAt is, of the ledger, the edge's wall clock; of the platform, its own clock at the execution.
	CreatedAt tideover.Millis `cbor:"10,keyasint"`
	// Moving: the row has changed since the platform's statement was begun, so that the two may be of different moments. What the
	// statement lacks of it is no finding yet; ask again later.
	Moving bool `cbor:"11,keyasint,omitempty"`
}

// Booked tells entries, at least one and at most [BookedMax]. The ledger has each id once. The platform has one entry for each execution: an
// id twice was executed twice.
type Booked struct {
	Entries []Booking `cbor:"1,keyasint"`
}

// Balanced closes the answer to a [Reconcile].
type Balanced struct {
	Ledger   int `cbor:"1,keyasint"` // how many entries of the ledger were said
	Platform int `cbor:"2,keyasint"` // and of the platform
	// Statement: the platform's statement was read to its end, so that what it lacks the platform does not have. It lists those ids of the
	// ledger's that were asked for, and what the platform has executed in that time under ids that the ledger does not have at all.
	Statement bool   `cbor:"3,keyasint,omitempty"`
	Detail    string `cbor:"4,keyasint,omitempty"` // English: why there is no statement
}

// Reason says why a frame was not taken.
type Reason uint8

// The reasons.
const (
	ReasonNone       Reason = iota
	ReasonKeyReused         // the ledger has the id with another request hash
	ReasonSuperseded        // a later incarnation of this store has said hello
	ReasonMalformed         // it breaks a limit or a rule of the protocol
	ReasonBusy              // the hub cannot take more now; try again
	ReasonDraining          // the hub is stopping; try another
	ReasonToken             // enrolment: the token is unknown, used or expired
	ReasonRevoked           // the store's certificate is no longer the valid one
)

// Refused says that a frame was not taken; nothing was executed because of it.
type Refused struct {
	Reason Reason          `cbor:"1,keyasint"`
	Detail string          `cbor:"2,keyasint,omitempty"` // English, for logs
	Adopt  *Submit         `cbor:"3,keyasint,omitempty"` // key reused: the ledger's own request, for an edge that lost its record
	End    *Confirmation   `cbor:"4,keyasint,omitempty"` // key reused: its end, if it has one
	Retry  tideover.Millis `cbor:"5,keyasint,omitempty"`
}

// Enroll asks for a store's certificate with a one-time token.
type Enroll struct {
	Secret [32]byte `cbor:"1,keyasint"` // from the token
	CSR    []byte   `cbor:"2,keyasint"` // PKCS #10, DER; the key stays on the edge
}

// Enrolled answers with everything that makes a machine the store's edge.
type Enrolled struct {
	Store       string              `cbor:"1,keyasint"`
	Certificate []byte              `cbor:"2,keyasint"` // DER
	CA          []byte              `cbor:"3,keyasint"` // DER
	StoreSecret [32]byte            `cbor:"4,keyasint"` // keys the request and instrument hashes
	Ledger      [16]byte            `cbor:"5,keyasint"`
	Addresses   []string            `cbor:"6,keyasint"`
	Terminals   []tideover.Terminal `cbor:"7,keyasint,omitempty"`
	LedgerTime  tideover.Millis     `cbor:"8,keyasint"`
	ReceiptKey  [32]byte            `cbor:"9,keyasint,omitzero"` // see [Welcome.ReceiptKey]
}
