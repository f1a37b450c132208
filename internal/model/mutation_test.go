package model

// mutation is a world in which one rule of the protocol is left out.
type mutation uint8

const (
	intact mutation = iota
	missingProves
	anyIncarnation
	noRow
	lazyEnds
	lazyCancel
	twoLedgers
	unheard
	haveInMemory
	earlyAck
	restoredSends
	notAgain
	notReplayed
	wallExpiry
	uncheckedCall
	posted
	lateApproval
	approvalBelieved
	gapIgnored
	twoAccounts
	latestExpiry
	calledTwice
	neverReopened
)
